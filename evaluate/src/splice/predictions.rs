//! Reads predictions of spliced and ablated runs.

use hayloft_results::KlMethod;
use hayloft_rows::SectionChoice;
use tch::Tensor;

use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::metrics::kl::BatchCleanRun;
use crate::splice::outcome::{BatchOutcome, Predicted};
use crate::splice::upper_model::UpperModel;

/// Number of SAEs whose spliced runs are read at once, against the same logits of the clean run. More take more memory
/// (one batch of the residual stream each), fewer more time.
pub(crate) const TOGETHER: usize = 8;

/// The upper model that changed activations run through, and what is read at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PredictionReader<'run> {
    /// `None` without a model; then nothing is read.
    pub(crate) upper_model: Option<&'run UpperModel>,
    /// How divergences from the clean run are computed, if requested.
    pub(crate) kl: Option<KlMethod>,
}

impl<'run> PredictionReader<'run> {
    /// Reads losses only.
    pub(crate) fn losses(upper_model: Option<&'run UpperModel>) -> Self {
        Self { upper_model, kl: None }
    }

    /// The clean run over a batch, if divergences are requested.
    pub(crate) fn untouched<'batch>(
        self,
        batch: &'batch Batch,
        activations: &Activations,
        sections: &[SectionChoice],
    ) -> Result<Option<BatchCleanRun<'batch>>, EvaluateError>
    where
        'run: 'batch,
    {
        let (Some(upper_model), Some(method)) = (self.upper_model, self.kl) else { return Ok(None) };
        BatchCleanRun::new(method, batch, activations, sections, upper_model).map(Some)
    }
}

/// Reads losses and divergences from the ends of the spliced runs of several SAEs, section by section.
pub(crate) fn read_ends(
    untouched: &BatchCleanRun<'_>,
    batch: &Batch,
    sections: &[SectionChoice],
    measured: &mut [Vec<BatchOutcome>],
) -> Result<(), EvaluateError> {
    for (place, &section) in sections.iter().enumerate() {
        let of_section = |all: &Vec<BatchOutcome>| match &all[place].predicted {
            Predicted::End(end) => Some(end.shallow_clone()),
            _ => None,
        };
        let ends: Vec<Tensor> = measured.iter().filter_map(of_section).collect();
        // All or none: every SAE has the same rows with a next token.
        let read = untouched.divergences(&ends, &batch.counted(section))?;
        for (all, divergences) in measured.iter_mut().zip(read) {
            all[place].predicted = Predicted::Divergences(divergences);
        }
    }
    Ok(())
}
