//! Runs an SAE on batches. Measuring takes `&self`, so several threads may measure batches at once.

use std::sync::Arc;

use hayloft_results::RowTerms;
use hayloft_rows::{LeftOut, OutlierRule, SectionChoice};
use hayloft_runtime::{Dtype, Phase};
use hayloft_sae::{Closeness, Sae, SaeFile, TargetMean};
use tch::{Device, Kind, TchError, Tensor};

use crate::baseline::{Baselines, Moments};
use crate::data::batch::{Activations, Batch, rows_at};
use crate::error::EvaluateError;
use crate::splice::outcome::{BatchOutcome, Predicted, SaeOutput, SaeRows};
use crate::splice::predictions::PredictionReader;
use crate::splice::upper_model::UpperModel;

#[derive(Debug)]
pub(crate) struct SaeRunner<'file> {
    pub(crate) file: &'file SaeFile,
    /// The factor c that activations are multiplied by.
    pub(crate) scale: f64,
    pub(crate) rule: OutlierRule,
    sae: Sae,
    sections: Arc<[SectionMean]>,
}

/// A section and its mean.
#[derive(Debug)]
struct SectionMean {
    section: SectionChoice,
    /// Mean of the scaled targets without outliers.
    mean: TargetMean,
}

impl<'file> SaeRunner<'file> {
    /// Loads an SAE whose matrix products run in `precision`.
    pub(crate) fn load(
        file: &'file SaeFile,
        scale: f64,
        rule: OutlierRule,
        sections: &[SectionChoice],
        baselines: &Baselines,
        (precision, device): (Dtype, Device),
    ) -> Result<Self, EvaluateError> {
        let section = |&section: &SectionChoice| -> Result<SectionMean, TchError> {
            let mean = Moments::mean(baselines.moments(section, rule));
            let mean: Vec<f32> = mean.iter().map(|mean| (mean * target_scale(file, scale)) as f32).collect();
            Ok(SectionMean { section, mean: TargetMean::new(&mean, device)? })
        };
        let sections = sections.iter().map(section).collect::<Result<_, _>>()?;
        Ok(Self { file, scale, rule, sae: file.load_computing_in(device, precision)?, sections })
    }

    /// The same runner with matrix products in another precision. Loads the SAE again.
    pub(crate) fn in_precision(&self, precision: Dtype, device: Device) -> Result<SaeRunner<'file>, EvaluateError> {
        let sae = self.file.load_computing_in(device, precision)?;
        Ok(SaeRunner { file: self.file, scale: self.scale, rule: self.rule, sae, sections: Arc::clone(&self.sections) })
    }

    /// Measures the SAE on a batch, section by section. `norms` are those of the batch's rows; `reading` holds the
    /// upper model. If divergences are requested, the spliced run stops at the final norm's input, because divergences
    /// are read for several SAEs at once.
    pub(crate) fn measure(
        &self,
        batch: &Batch,
        activations: &Activations,
        norms: &Arc<[f64]>,
        sections: &[SectionChoice],
        reading: PredictionReader<'_>,
    ) -> Result<Vec<BatchOutcome>, EvaluateError> {
        let outputs = self.run(batch, (&activations.input, &activations.target), norms, sections)?;
        let mut measured = Vec::with_capacity(outputs.len());
        for (&section, output) in sections.iter().zip(outputs) {
            let predicted = match reading.upper_model {
                Some(upper_model) => {
                    let splice = Splice { rows: &output.rows.kept, values: &output.values, upper_model };
                    splice.predict(batch, activations, &batch.counted(section), reading.kl.is_some())?
                }
                None => Predicted::Nothing,
            };
            measured.push(output.with(predicted));
        }
        Ok(measured)
    }

    /// Runs the SAE on the rows of a batch in some of its sections, in the order in which it was loaded with them;
    /// `input` and `target` are `[rows, width]` each, `norms` those of `input`.
    pub(crate) fn run(
        &self,
        batch: &Batch,
        (input, target): (&Tensor, &Tensor),
        norms: &Arc<[f64]>,
        sections: &[SectionChoice],
    ) -> Result<Vec<SaeOutput>, EvaluateError> {
        let sections: Vec<&SectionMean> = self.sections.iter().filter(|own| sections.contains(&own.section)).collect();
        let judged: Vec<(Vec<i64>, LeftOut)> =
            sections.iter().map(|own| batch.kept(own.section, norms, self.rule)).collect();
        // Sections overlap.
        let mut kept: Vec<i64> = judged.iter().flat_map(|(kept, _)| kept).copied().collect();
        kept.sort_unstable();
        kept.dedup();
        let members_of = |own: &&SectionMean| kept.iter().map(|&row| batch.is_member(row, own.section)).collect();
        let groups: Vec<Vec<bool>> = sections.iter().map(members_of).collect();
        let (inputs, targets) = {
            let _phase = Phase::Splice.begin(0);
            let inputs = multiplied(&rows_at(input, &kept)?, self.scale)?;
            // The target of an autoencoder is its input.
            let targets = if self.file.is_transcoder() {
                rows_at(target, &kept)?.f_to_kind(Kind::Float)?
            } else {
                inputs.shallow_clone()
            };
            (inputs, targets)
        };
        let (reconstruction, firings) = self.sae.reconstruct_counting(&inputs, &groups)?;
        let close = {
            let _phase = Phase::Splice.begin(0);
            Closeness::of(&targets, &reconstruction.rows)?
        };
        if close.errors.iter().any(|error| !error.is_finite()) {
            return Err(EvaluateError::NonFiniteReconstruction {
                sae: self.file.folder().to_path_buf(),
                shard: batch.shard,
                row_group: batch.row_group,
            });
        }
        let (fired, l1): (Vec<i64>, Vec<f32>) =
            (Vec::try_from(&reconstruction.fired)?, Vec::try_from(&reconstruction.l1)?);
        let mut outputs = Vec::with_capacity(sections.len());
        for (((own, (in_section, left_out)), members), firings) in sections.iter().zip(judged).zip(&groups).zip(firings)
        {
            // Indices into the kept rows.
            let places: Vec<usize> = (0..kept.len()).filter(|&place| members[place]).collect();
            let _phase = Phase::Splice.begin(0);
            let deviations = own.mean.squared_deviations(&select(&targets, &places)?)?;
            let terms = places
                .iter()
                .zip(deviations)
                .map(|(&place, deviation)| RowTerms::new((fired[place], l1[place]), deviation, close.at(place)));
            outputs.push(SaeOutput {
                rows: SaeRows { norms: Arc::clone(norms), kept: in_section, left_out },
                values: divided(&select(&reconstruction.rows, &places)?, self.target_scale())?,
                terms: terms.collect(),
                firings,
            });
        }
        Ok(outputs)
    }

    /// The factor that targets and reconstructions are multiplied by: the scale, or 1 for transcoders, which
    /// reconstruct another site than their input.
    pub(crate) fn target_scale(&self) -> f64 {
        target_scale(self.file, self.scale)
    }

    /// Number of latents.
    pub(crate) fn width(&self) -> usize {
        self.file.width()
    }
}

/// The factor that an SAE's targets and reconstructions are multiplied by, from that of its inputs.
pub(crate) fn target_scale(file: &SaeFile, scale: f64) -> f64 {
    if file.is_transcoder() { 1.0 } else { scale }
}

/// Converts rows to float32 and multiplies them by a factor; skips a factor of 1.
pub(crate) fn multiplied(rows: &Tensor, factor: f64) -> Result<Tensor, TchError> {
    let rows = rows.f_to_kind(Kind::Float)?;
    if factor.to_bits() == 1.0f64.to_bits() { Ok(rows) } else { rows.f_mul_scalar(factor) }
}

/// Divides rows by a number; skips a divisor of 1.
fn divided(rows: &Tensor, divisor: f64) -> Result<Tensor, TchError> {
    if divisor.to_bits() == 1.0f64.to_bits() { Ok(rows.shallow_clone()) } else { rows.f_div_scalar(divisor) }
}

/// `values` `[n, width]` that replace `n` rows.
struct Splice<'run> {
    rows: &'run [i64],
    values: &'run Tensor,
    upper_model: &'run UpperModel,
}

impl Splice<'_> {
    /// The model's predictions at some rows: losses, or the residual stream at the final norm's input if `to_end`.
    fn predict(
        &self,
        batch: &Batch,
        activations: &Activations,
        counted: &[i64],
        to_end: bool,
    ) -> Result<Predicted, EvaluateError> {
        if counted.is_empty() {
            return Ok(Predicted::Losses(Vec::new()));
        }
        let spliced = {
            let _phase = Phase::Splice.begin(0);
            self.upper_model.spliced(activations, self.rows, self.values)?
        };
        Ok(if to_end {
            Predicted::End(self.upper_model.end(batch, &spliced, counted)?)
        } else {
            Predicted::Losses(self.upper_model.losses(batch, &spliced, counted)?)
        })
    }
}

/// Selects rows of a tensor, in order and without duplicates; does not copy if all are selected.
fn select(rows: &Tensor, places: &[usize]) -> Result<Tensor, TchError> {
    if places.len() as i64 == rows.size()[0] {
        return Ok(rows.shallow_clone());
    }
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    rows.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to_device(rows.device())?)
}
