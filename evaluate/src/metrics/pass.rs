//! One pass over batches for all SAEs. Each batch is read and decoded once, its norms are computed once, every SAE
//! measures it, and the measurements are summed in the cache's order.

use std::ops::Range;
use std::sync::Arc;

use hayloft_model::Divergences;
use hayloft_results::{BySubset, LatentCounts, SequenceSums, SubsetSums, Sums};
use hayloft_rows::SectionChoice;
use hayloft_runtime::{Gauge, Phase};

use crate::baseline::Baselines;
use crate::data::batch::Batch;
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::batch_sums::BatchSums;
use crate::metrics::subsets;
use crate::splice::joint;
use crate::splice::outcome::{BatchOutcome, Predicted, SaeRows};
use crate::splice::predictions::{PredictionReader, READ_AT_ONCE, read_ends};
use crate::splice::sae_runner::SaeRunner;

/// Result of a pass over some shards for one section of one SAE: sums per shard, and firing counts of each latent over
/// all of them.
#[derive(Debug)]
pub(crate) struct SectionOutcome {
    pub(crate) section: SectionChoice,
    /// Index of the first shard in the cache's list; the others follow it.
    first: usize,
    pub(crate) shards: Vec<Sums>,
    pub(crate) latents: LatentCounts,
    /// For each shard one entry per sequence, in the cache's order, if kept.
    pub(crate) sequences: Option<Vec<Vec<SequenceSums>>>,
    /// For each shard the sums over each subset, if kept.
    pub(crate) subsets: Option<Vec<BySubset<SubsetSums>>>,
}

/// Which sums are kept in addition to those per shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) sequences: bool,
    pub(crate) subsets: bool,
}

/// Outcomes by SAE, then by section.
pub(crate) type Outcomes = Vec<Vec<SectionOutcome>>;

/// Evaluates all SAEs on the shards at these indices. Returns their outcomes, and those of the batches that
/// [`CacheReader::first`] gives for `sample_rows`. `keep` applies to the former only.
pub(crate) fn pass(
    source: CacheReader<'_>,
    places: &Range<usize>,
    runners: &[SaeRunner<'_>],
    sections: &[SectionChoice],
    reading: PredictionReader<'_>,
    (sample_rows, keep): (usize, Keep),
    gauge: &Gauge,
) -> Result<(Outcomes, Outcomes), EvaluateError> {
    let mut outcomes = empty(places, runners, sections, keep);
    let mut sample = empty(&(0..1), runners, sections, Keep::default());
    let mut sampled = 0;
    source.for_each(
        &places.clone().collect::<Vec<_>>(),
        gauge,
        |batch| measure(source, batch, runners, sections, reading),
        |batch, measured| {
            if sampled < sample_rows && (batch.place, batch.row_group) == (0, 0) {
                sampled += batch.rows();
                add(&mut sample, batch, &measured);
            }
            add(&mut outcomes, batch, &measured);
            Ok(())
        },
    )?;
    Ok((outcomes, sample))
}

/// Evaluates all SAEs on some batches of the first shard, one after the other.
pub(crate) fn pass_over(
    source: CacheReader<'_>,
    batches: &[Batch],
    runners: &[SaeRunner<'_>],
    sections: &[SectionChoice],
    reading: PredictionReader<'_>,
) -> Result<Outcomes, EvaluateError> {
    let mut outcomes = empty(&(0..1), runners, sections, Keep::default());
    for batch in batches {
        add(&mut outcomes, batch, &measure(source, batch, runners, sections, reading)?);
    }
    Ok(outcomes)
}

fn empty(places: &Range<usize>, runners: &[SaeRunner<'_>], sections: &[SectionChoice], keep: Keep) -> Outcomes {
    let empty = |runner: &SaeRunner<'_>, section| SectionOutcome::empty(runner.width(), section, places, keep);
    let outcomes = |runner| sections.iter().map(|&section| empty(runner, section)).collect();
    runners.iter().map(outcomes).collect()
}

/// Measures a batch: for each SAE the outcome of each section.
fn measure(
    source: CacheReader<'_>,
    batch: &Batch,
    runners: &[SaeRunner<'_>],
    sections: &[SectionChoice],
    reading: PredictionReader<'_>,
) -> Result<Vec<Vec<BatchOutcome>>, EvaluateError> {
    let (activations, norms) = {
        let _phase = Phase::Splice.begin(0);
        let activations = source.to_device(batch)?;
        let norms: Arc<[f64]> = activations.norms()?.into();
        (activations, norms)
    };
    let clean_run = reading.clean_run(batch, &activations, sections)?;
    if !reading.further.is_empty() {
        let inputs = (&activations, &norms);
        return joint::measure(source, batch, inputs, runners, sections, reading, clean_run.as_ref());
    }
    let measure = |runner: &SaeRunner<'_>| runner.measure(batch, &activations, &norms, sections, reading);
    let mut all = Vec::with_capacity(runners.len());
    for some in runners.chunks(READ_AT_ONCE) {
        let mut measured = some.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
        if let Some(clean_run) = &clean_run {
            read_ends(clean_run, batch, sections, &mut measured)?;
        }
        all.extend(measured);
    }
    Ok(all)
}

/// Adds the measurements of the next batch, in row order.
fn add(outcomes: &mut [Vec<SectionOutcome>], batch: &Batch, measured: &[Vec<BatchOutcome>]) {
    let _phase = Phase::Splice.begin(0);
    for (outcomes, measured) in outcomes.iter_mut().zip(measured) {
        for (outcome, measured) in outcomes.iter_mut().zip(measured) {
            outcome.add(batch, measured);
        }
    }
}

impl SectionOutcome {
    /// Empty sums of an SAE with `width` latents, over the shards at these indices.
    pub(crate) fn empty(width: usize, section: SectionChoice, places: &Range<usize>, keep: Keep) -> Self {
        Self {
            section,
            first: places.start,
            shards: vec![Sums::default(); places.len()],
            latents: LatentCounts { rows: 0, firings: vec![0; width] },
            sequences: keep.sequences.then(|| vec![Vec::new(); places.len()]),
            subsets: keep.subsets.then(|| vec![BySubset::default(); places.len()]),
        }
    }

    /// Adds the measurements of the next batch.
    fn add(&mut self, batch: &Batch, measured: &BatchOutcome) {
        let place = batch.place - self.first;
        let sums = &mut self.shards[place];
        let SaeRows { norms, kept, left_out } = &measured.rows;
        sums.outlier_rows += left_out.outliers;
        sums.non_finite_rows += left_out.non_finite;
        sums.excluded_rows += left_out.excluded;
        for row in batch.members(self.section) {
            sums.norms.add(norms[row as usize]);
        }
        for (position, terms) in batch.positions_at(kept).into_iter().zip(&measured.terms) {
            sums.add_activation(terms);
            sums.positions.add_activation(position, terms);
        }
        let positions = || batch.positions_at(&batch.counted(self.section));
        match &measured.predicted {
            Predicted::Nothing | Predicted::End(_) => {}
            Predicted::Losses(losses) => sums.add_sae_losses(&positions(), losses),
            Predicted::Divergences(Divergences { loss, kl }) => {
                sums.add_sae_losses(&positions(), loss);
                sums.kl.get_or_insert_default().add(kl);
            }
        }
        if let Some(sequences) = &mut self.sequences {
            sequences[place].extend(tallies(batch, measured, &batch.counted(self.section)));
        }
        if let Some(shards) = &mut self.subsets {
            subsets::add(&mut shards[place], batch, measured, &batch.counted(self.section));
        }
        self.latents.rows += measured.terms.len() as u64;
        for (total, &firings) in self.latents.firings.iter_mut().zip(&measured.firings) {
            *total += u64::from(firings);
        }
    }

    /// Adds the losses and divergences of the clean and the zero-ablated run at the same tokens.
    pub(crate) fn complete(&mut self, baselines: &Baselines) {
        for (sums, losses) in self.shards.iter_mut().zip(baselines.losses(self.section)) {
            sums.clean_loss = losses.clean_loss;
            sums.zero_loss = losses.zero_loss;
            sums.positions.clean_loss = losses.clean_by_position.clone();
            sums.positions.zero_loss = losses.zero_by_position.clone();
        }
        for (sums, ablated) in self.shards.iter_mut().zip(baselines.divergences(self.section)) {
            sums.kl.get_or_insert_default().kl_ablated = ablated.kl;
        }
        for (subsets, losses) in self.subsets.iter_mut().flatten().zip(baselines.losses(self.section)) {
            for (subset, SubsetSums { sums, .. }) in subsets.iter_mut() {
                let of_subset = losses.by_subset.get(subset).copied().unwrap_or_default();
                (sums.clean_loss, sums.zero_loss) = (of_subset.clean_loss, of_subset.zero_loss);
            }
        }
        let mut divergences = baselines.divergences(self.section).iter();
        for (tallies, losses) in self.sequences.iter_mut().flatten().zip(baselines.losses(self.section)) {
            let losses = losses.clean_by_sequence.values().iter().zip(losses.zero_by_sequence.values());
            // Without divergences, the ablated term is zero.
            let ablated = divergences.next().map_or(&[][..], |shard| shard.by_sequence.values());
            let ablated = ablated.iter().chain(std::iter::repeat(&0.0));
            for ((tally, (&clean, &zero)), &ablated) in tallies.iter_mut().zip(losses).zip(ablated) {
                tally.complete(clean, zero, ablated);
            }
        }
    }
}

/// The sums of each sequence of a batch; `counted` are the rows of its losses.
fn tallies(batch: &Batch, measured: &BatchOutcome, counted: &[i64]) -> impl Iterator<Item = SequenceSums> {
    let mut tallies = BatchSums::new(batch);
    tallies.add_activations(&measured.rows.kept, &measured.terms);
    match &measured.predicted {
        Predicted::Nothing | Predicted::End(_) => {}
        Predicted::Losses(losses) => tallies.add_losses(counted, losses),
        Predicted::Divergences(Divergences { loss, kl }) => {
            tallies.add_losses(counted, loss);
            tallies.add_divergences(counted, kl);
        }
    }
    tallies.finish()
}
