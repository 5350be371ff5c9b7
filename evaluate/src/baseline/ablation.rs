//! Losses of the clean and the zero-ablated run over one batch.

use hayloft_results::CleanSource;
use hayloft_rows::SectionChoice;

use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::splice::predictions::PredictionReader;
use crate::splice::upper_model::UpperModel;

/// State of the zero ablation that is the same for all batches.
#[derive(Debug)]
pub(super) struct Ablation<'run> {
    reading: PredictionReader<'run>,
    upper_model: &'run UpperModel,
    sections: Vec<SectionChoice>,
    clean_source: CleanSource,
    /// `[vocab]`: the loss of each label with every position ablated; `None` where it depends on the position.
    all_zero: Option<Vec<f32>>,
}

/// Losses of one section over one batch, at its rows with a next token.
#[derive(Debug, Default)]
pub(super) struct BatchLosses {
    pub(super) clean: Vec<f32>,
    pub(super) zero: Vec<f32>,
}

impl<'run> Ablation<'run> {
    pub(super) fn new(
        reading: PredictionReader<'run>,
        upper_model: &'run UpperModel,
        sections: Vec<SectionChoice>,
        clean_source: CleanSource,
    ) -> Result<Self, EvaluateError> {
        let all_zero = if reading.is_same_everywhere_when_zero() { Some(upper_model.all_zero_losses()?) } else { None };
        Ok(Self { reading, upper_model, sections, clean_source, all_zero })
    }

    pub(super) fn measure(&self, batch: &Batch, activations: &Activations) -> Result<Vec<BatchLosses>, EvaluateError> {
        self.sections.iter().map(|&section| self.measure_section(batch, activations, section)).collect()
    }

    fn measure_section(
        &self,
        batch: &Batch,
        activations: &Activations,
        section: SectionChoice,
    ) -> Result<BatchLosses, EvaluateError> {
        let counted = batch.counted(section);
        if counted.is_empty() {
            return Ok(BatchLosses::default());
        }
        let cached = match self.clean_source {
            CleanSource::Cache => batch.losses_at(&counted),
            CleanSource::Recomputed => None,
        };
        let clean = match cached {
            Some(losses) => losses,
            None => self.upper_model.losses(batch, &self.upper_model.clean(activations)?, &counted)?,
        };
        let members = batch.members(section);
        let zero = match &self.all_zero {
            Some(all_zero) if members.len() == batch.rows() => {
                let loss = |label: i64| all_zero.get(label as usize).copied();
                // A label outside the vocabulary is an error of the spliced run; it has no loss here.
                batch.labels_at(&counted).into_iter().map(|label| loss(label).unwrap_or(f32::NAN)).collect()
            }
            _ => {
                let end = self.reading.ablated_end(self.upper_model, batch, activations, &members, &counted)?;
                self.upper_model.losses_at_end(batch, &end, &counted)?
            }
        };
        Ok(BatchLosses { clean, zero })
    }
}
