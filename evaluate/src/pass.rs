//! One pass over the cache for all SAEs: reconstruct, sum, splice, go on to the losses.

use tch::{Device, Kind, TchError, Tensor};

use crate::baseline::{Baselines, Moments};
use crate::batch::{Activations, Batch};
use crate::measures::LatentCounts;
use crate::outliers::{OutlierRule, Verdict};
use crate::sae::{Chunk, Reconstruction, Sae};
use crate::scale::Scale;
use crate::section_choice::SectionChoice;
use crate::sums::Sums;
use crate::upper_half::UpperHalf;
use crate::{EvaluateError, SaeFile};

/// An SAE in a run, with its sums.
#[derive(Debug)]
pub(crate) struct Candidate<'file> {
    pub(crate) file: &'file SaeFile,
    pub(crate) scale: Scale,
    pub(crate) rule: OutlierRule,
    sae: Sae,
    sections: Vec<SectionSums>,
}

/// One section of one SAE.
#[derive(Debug)]
pub(crate) struct SectionSums {
    pub(crate) section: SectionChoice,
    /// One entry a shard, in the cache's order.
    pub(crate) shards: Vec<Sums>,
    /// `[d_model]` float32: the mean of the scaled activations of the section, outliers apart.
    mean: Tensor,
    /// `[width]` i64: rows in which each latent fired.
    firings: Tensor,
}

/// What a pass gave for one section: sums, one entry a shard, and how often each latent fired in all of them.
#[derive(Debug)]
pub(crate) struct SectionOutcome {
    pub(crate) section: SectionChoice,
    pub(crate) shards: Vec<Sums>,
    pub(crate) latents: LatentCounts,
}

impl<'file> Candidate<'file> {
    /// Loads an SAE, with empty sums for each section.
    pub(crate) fn load(
        file: &'file SaeFile,
        scale: Scale,
        rule: OutlierRule,
        sections: &[SectionChoice],
        baselines: &Baselines,
        device: Device,
    ) -> Result<Self, EvaluateError> {
        let section = |&section: &SectionChoice| -> Result<SectionSums, TchError> {
            let moments = baselines.moments(section, rule);
            let mean: Vec<f32> = Moments::mean(moments).iter().map(|mean| (mean * scale.value) as f32).collect();
            let mean = Tensor::f_from_slice(&mean)?.f_to_device(device)?;
            let firings = Tensor::f_zeros([file.width() as i64], (Kind::Int64, device))?;
            Ok(SectionSums { section, shards: vec![Sums::default(); moments.len()], mean, firings })
        };
        let sections = sections.iter().map(section).collect::<Result<_, _>>()?;
        Ok(Self { file, scale, rule, sae: file.load(device)?, sections })
    }

    /// The sums of each section, with what the baselines know of the same tokens.
    pub(crate) fn into_outcomes(self, baselines: &Baselines) -> Result<Vec<SectionOutcome>, TchError> {
        let complete = |SectionSums { section, mut shards, firings, mean: _ }| {
            for (sums, losses) in shards.iter_mut().zip(baselines.losses(section)) {
                sums.clean_loss = losses.clean_loss;
                sums.zero_loss = losses.zero_loss;
                sums.positions.clean_loss = losses.clean_by_position.clone();
                sums.positions.zero_loss = losses.zero_by_position.clone();
            }
            for (sums, moments) in shards.iter_mut().zip(baselines.moments(section, self.rule)) {
                sums.outlier_rows = moments.outlier_rows;
                sums.non_finite_rows = moments.non_finite_rows;
            }
            let firings = Vec::<i64>::try_from(firings)?.into_iter().map(|count| count as u64).collect();
            let latents = LatentCounts { rows: shards.iter().map(|sums| sums.activation_rows).sum(), firings };
            Ok(SectionOutcome { section, shards, latents })
        };
        self.sections.into_iter().map(complete).collect()
    }

    /// Evaluates the SAE on a batch.
    pub(crate) fn add(
        &mut self,
        batch: &Batch,
        activations: &Activations,
        norms: &[f64],
        upper_half: &UpperHalf,
    ) -> Result<(), EvaluateError> {
        let in_any = |row: i64| self.sections.iter().any(|sums| batch.is_member(row, sums.section));
        let is_kept = |row: i64| self.rule.judge(norms[row as usize]) == Verdict::Kept;
        let kept: Vec<i64> = (0..batch.rows() as i64).filter(|&row| in_any(row) && is_kept(row)).collect();
        let x = activations.at(&kept)?.f_to_kind(Kind::Float)?.f_mul_scalar(self.scale.value)?;
        let sections = &mut self.sections;
        let reconstruction = self.sae.reconstruct_observed(&x, |chunk| {
            sections.iter_mut().try_for_each(|sums| sums.add_firings(batch, &kept, &chunk))
        })?;
        let errors = squared_norms(&x.f_sub(&reconstruction.rows)?)?;
        if errors.iter().any(|error| !error.is_finite()) {
            return Err(EvaluateError::NonFiniteReconstruction {
                sae: self.file.folder().to_path_buf(),
                shard: batch.shard,
                row_group: batch.row_group,
            });
        }
        let values = reconstruction.rows.f_div_scalar(self.scale.value)?;
        for sums in &mut self.sections {
            // Places among the kept rows, and the rows of the batch that they are.
            let places: Vec<usize> =
                (0..kept.len()).filter(|&place| batch.is_member(kept[place], sums.section)).collect();
            sums.add_norms(batch, norms);
            sums.add_activations(batch.place, &places, &x, &errors, &reconstruction)?;
            let counted = batch.counted(sums.section);
            if counted.is_empty() {
                continue;
            }
            let rows: Vec<i64> = places.iter().map(|&place| kept[place]).collect();
            let spliced = upper_half.spliced(activations, &rows, &select(&values, &places)?)?;
            let losses = upper_half.losses(batch, &spliced, &counted)?;
            sums.shards[batch.place].add_sae_losses(&batch.positions_at(&counted), &losses);
        }
        Ok(())
    }
}

impl SectionSums {
    /// Counts which latents fire at those rows of a chunk that are of the section. `kept` are the rows of the batch that
    /// the chunks are of.
    fn add_firings(&mut self, batch: &Batch, kept: &[i64], chunk: &Chunk<'_>) -> Result<(), TchError> {
        let rows = chunk.latents.size()[0] as usize;
        let members: Vec<usize> =
            (0..rows).filter(|&row| batch.is_member(kept[chunk.first_row + row], self.section)).collect();
        let fired = select(chunk.latents, &members)?.f_count_nonzero_dim_intlist([0i64].as_slice())?;
        let _ = self.firings.f_add_(&fired)?;
        Ok(())
    }

    fn add_norms(&mut self, batch: &Batch, norms: &[f64]) {
        for row in batch.members(self.section) {
            self.shards[batch.place].norms.add(norms[row as usize]);
        }
    }

    /// Adds the rows of the section, in their order: `places` are their places among the rows of `x`.
    fn add_activations(
        &mut self,
        shard: usize,
        places: &[usize],
        x: &Tensor,
        errors: &[f32],
        reconstruction: &Reconstruction,
    ) -> Result<(), TchError> {
        let deviations = squared_norms(&select(x, places)?.f_sub(&self.mean)?)?;
        let fired: Vec<i64> = Vec::try_from(&reconstruction.fired)?;
        for (&place, deviation) in places.iter().zip(deviations) {
            self.shards[shard].add_activation(fired[place], errors[place], deviation);
        }
        Ok(())
    }
}

/// `[n, d_model]` float32 → the squared Euclidean norm of each row.
fn squared_norms(rows: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(rows.f_square()?.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)?)
}

/// Some rows of a tensor; all of them without a copy.
fn select(rows: &Tensor, places: &[usize]) -> Result<Tensor, TchError> {
    if places.len() as i64 == rows.size()[0] {
        return Ok(rows.shallow_clone());
    }
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    rows.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to_device(rows.device())?)
}
