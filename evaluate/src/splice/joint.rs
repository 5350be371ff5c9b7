//! Several SAEs spliced in together, at different sites.
//!
//! The forward pass starts from the cached activations of the lowest site. At each SAE's site its reconstruction
//! replaces the current activations, which the preceding SAEs have changed. So the activations of the spliced run are
//! each SAE's input and target. Losses are those of all SAEs together, and zero ablation zeroes all their sites at
//! once. The lowest SAE alone is measured as it is without others, to the bit.

use std::sync::Arc;

use hayloft_rows::SectionChoice;
use tch::Tensor;

use crate::data::batch::{Activations, Batch, row_norms};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::kl::BatchCleanRun;
use crate::splice::outcome::{BatchOutcome, Predicted};
use crate::splice::predictions::PredictionReader;
use crate::splice::sae_runner::SaeRunner;

/// Measures SAEs that are spliced in together on a batch: for each SAE the outcome of each section. `norms` are those
/// of the first SAE's input.
pub(crate) fn measure(
    source: CacheReader<'_>,
    batch: &Batch,
    (activations, norms): (&Activations, &Arc<[f64]>),
    runners: &[SaeRunner<'_>],
    sections: &[SectionChoice],
    reading: PredictionReader<'_>,
    clean_run: Option<&BatchCleanRun<'_>>,
) -> Result<Vec<Vec<BatchOutcome>>, EvaluateError> {
    let (Some((first, others)), Some(upper_model)) = (runners.split_first(), reading.upper_model) else {
        return Err(EvaluateError::TogetherWithoutModel);
    };
    let mut measured: Vec<Vec<BatchOutcome>> = runners.iter().map(|_| Vec::with_capacity(sections.len())).collect();
    let inputs = (&activations.input, &activations.target);
    for (&section, output) in sections.iter().zip(first.run(batch, inputs, norms, sections)?) {
        let counted = batch.counted(section);
        let spliced = upper_model.spliced(activations, &output.rows.kept, &output.values)?;
        let mut outputs = vec![output];
        let run_next = |index: usize, [input, target]: [Tensor; 2]| {
            let (input, target) = (source.in_convention(&input)?, source.in_convention(&target)?);
            let norms = row_norms(&input)?.into();
            let output = others[index].run(batch, (&input, &target), &norms, &[section])?.pop();
            let Some(output) = output else { return Ok((Vec::new(), target)) };
            let replaced = (output.rows.kept.clone(), output.values.shallow_clone());
            outputs.push(output);
            Ok(replaced)
        };
        let end = upper_model.end_past(batch, &spliced, reading.further, run_next, &counted)?;
        let predicted = match clean_run {
            _ if counted.is_empty() => Predicted::Losses(Vec::new()),
            Some(clean_run) => {
                let read = clean_run.divergences(&[end], &counted)?.pop();
                read.map_or(Predicted::Nothing, Predicted::Divergences)
            }
            None => Predicted::Losses(upper_model.losses_at_end(batch, &end, &counted)?),
        };
        for (outcomes, output) in measured.iter_mut().zip(outputs) {
            outcomes.push(output.with(predicted.shallow_clone()));
        }
    }
    Ok(measured)
}
