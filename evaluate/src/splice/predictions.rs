//! Reads predictions of spliced and ablated runs.

use hayloft_results::KlMethod;
use hayloft_rows::SectionChoice;
use tch::{Kind, Tensor};

use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::metrics::kl::BatchCleanRun;
use crate::session::splice_site::SpliceSite;
use crate::splice::outcome::{BatchOutcome, Predicted};
use crate::splice::upper_model::UpperModel;

/// Number of SAEs whose spliced runs are read at once, against the same logits of the clean run. More take more memory
/// (one batch of the residual stream each), fewer more time.
pub(crate) const READ_AT_ONCE: usize = 8;

/// The upper model that changed activations run through, and what is read at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PredictionReader<'run> {
    /// `None` without a model; then nothing is read.
    pub(crate) upper_model: Option<&'run UpperModel>,
    /// The sites above the upper model's target that the same run changes too, from the lowest to the highest. Empty
    /// unless SAEs are spliced together.
    pub(crate) further: &'run [SpliceSite],
    /// How divergences from the clean run are computed, if requested.
    pub(crate) kl: Option<KlMethod>,
}

impl<'run> PredictionReader<'run> {
    /// Reads nothing.
    pub(crate) const NONE: Self = Self { upper_model: None, further: &[], kl: None };

    /// The clean run over a batch, if divergences are requested.
    pub(crate) fn clean_run<'batch>(
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

    /// Whether zeros at every position of every site of the run give the same prediction at every position.
    pub(crate) fn is_same_everywhere_when_zero(self) -> bool {
        self.further.is_empty() && self.upper_model.is_some_and(UpperModel::is_same_everywhere_when_zero)
    }

    /// The residual stream `[at.len(), d_model]` at the final norm's input, at some rows of a batch with zeros in
    /// `members` at every site of the run.
    pub(crate) fn ablated_end(
        self,
        upper_model: &UpperModel,
        batch: &Batch,
        activations: &Activations,
        members: &[i64],
        at: &[i64],
    ) -> Result<Tensor, EvaluateError> {
        let zeros = |_, [_, target]: [Tensor; 2]| {
            let zeros = Tensor::f_zeros([members.len() as i64, target.size()[1]], (Kind::Float, target.device()))?;
            Ok((members.to_vec(), zeros))
        };
        upper_model.end_past(batch, &upper_model.ablated(activations, members)?, self.further, zeros, at)
    }
}

/// Reads losses and divergences from the ends of the spliced runs of several SAEs, section by section.
pub(crate) fn read_ends(
    clean_run: &BatchCleanRun<'_>,
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
        let read = clean_run.divergences(&ends, &batch.counted(section))?;
        for (all, divergences) in measured.iter_mut().zip(read) {
            all[place].predicted = Predicted::Divergences(divergences);
        }
    }
    Ok(())
}
