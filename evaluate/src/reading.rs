//! How predictions of changed runs are read off.

use tch::Tensor;

use crate::EvaluateError;
use crate::batch::{Activations, Batch};
use crate::candidate::{Measured, Predicted};
use crate::kl::{BatchUntouched, KlWay};
use crate::section_choice::SectionChoice;
use crate::upper_half::UpperHalf;

/// SAEs whose spliced runs are read off at once, against the same logits of the clean run. More would take more memory
/// (a batch's residual each), fewer more time.
pub(crate) const TOGETHER: usize = 8;

/// What changed residuals go through, and what is read off at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'run> {
    /// Without a model, nothing.
    pub(crate) upper_half: Option<&'run UpperHalf>,
    /// How divergences from the clean run are computed, if they are wanted.
    pub(crate) kl: Option<KlWay>,
}

impl<'run> Reading<'run> {
    /// Losses alone.
    pub(crate) fn losses(upper_half: Option<&'run UpperHalf>) -> Self {
        Self { upper_half, kl: None }
    }

    /// The clean run over a batch, where divergences from it are wanted.
    pub(crate) fn untouched<'batch>(
        self,
        batch: &'batch Batch,
        activations: &Activations,
        sections: &[SectionChoice],
    ) -> Result<Option<BatchUntouched<'batch>>, EvaluateError>
    where
        'run: 'batch,
    {
        let (Some(upper_half), Some(way)) = (self.upper_half, self.kl) else { return Ok(None) };
        BatchUntouched::new(way, batch, activations, sections, upper_half).map(Some)
    }
}

/// Reads losses and divergences off the ends of the spliced runs of several SAEs, each measured section by section.
pub(crate) fn read_ends(
    untouched: &BatchUntouched<'_>,
    batch: &Batch,
    sections: &[SectionChoice],
    measured: &mut [Vec<Measured>],
) -> Result<(), EvaluateError> {
    for (place, &section) in sections.iter().enumerate() {
        let of_section = |all: &Vec<Measured>| match &all[place].predicted {
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
