//! How predictions of changed runs are read off.

use hayloft_results::KlWay;
use hayloft_rows::SectionChoice;
use tch::Tensor;

use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::metrics::kl::BatchCleanRun;
use crate::splice::outcome::{BatchOutcome, Predicted};
use crate::splice::upper_model::UpperModel;

/// SAEs whose spliced runs are read off at once, against the same logits of the clean run. More would take more memory
/// (a batch's residual each), fewer more time.
pub(crate) const TOGETHER: usize = 8;

/// What changed residuals go through, and what is read off at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PredictionReader<'run> {
    /// Without a model, nothing.
    pub(crate) upper_model: Option<&'run UpperModel>,
    /// How divergences from the clean run are computed, if they are wanted.
    pub(crate) kl: Option<KlWay>,
}

impl<'run> PredictionReader<'run> {
    /// Losses alone.
    pub(crate) fn losses(upper_model: Option<&'run UpperModel>) -> Self {
        Self { upper_model, kl: None }
    }

    /// The clean run over a batch, where divergences from it are wanted.
    pub(crate) fn untouched<'batch>(
        self,
        batch: &'batch Batch,
        activations: &Activations,
        sections: &[SectionChoice],
    ) -> Result<Option<BatchCleanRun<'batch>>, EvaluateError>
    where
        'run: 'batch,
    {
        let (Some(upper_model), Some(way)) = (self.upper_model, self.kl) else { return Ok(None) };
        BatchCleanRun::new(way, batch, activations, sections, upper_model).map(Some)
    }
}

/// Reads losses and divergences off the ends of the spliced runs of several SAEs, each measured section by section.
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
        // All or none: whether any row counts is the same for every SAE.
        let read = untouched.divergences(&ends, &batch.counted(section))?;
        for (all, divergences) in measured.iter_mut().zip(read) {
            all[place].predicted = Predicted::Divergences(divergences);
        }
    }
    Ok(())
}
