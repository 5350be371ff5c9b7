//! The clean run's predictions over a batch.

use hayloft_model::{CleanRun, Divergences, ModelError};
use hayloft_results::KlMethod;
use hayloft_rows::SectionChoice;
use hayloft_store::Predictions;
use tch::Tensor;

use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::splice::upper_model::UpperModel;

/// The top-k clean logits of some rows, as stored in the cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct Largest {
    /// `[rows, k]`.
    ids: Vec<u32>,
    /// `[rows, k]`.
    logits: Vec<f32>,
    /// `[rows]`: over all logits.
    logsumexp: Vec<f32>,
}

impl Largest {
    /// Those of some rows of a shard, in the order given.
    pub(crate) fn of(predictions: &Predictions, rows: impl Iterator<Item = usize>) -> Self {
        let k = predictions.top_k;
        let mut largest = Self::default();
        for row in rows {
            largest.ids.extend(&predictions.top_ids[row * k..(row + 1) * k]);
            largest.logits.extend(&predictions.top_logits[row * k..(row + 1) * k]);
            largest.logsumexp.push(predictions.logsumexp[row]);
        }
        largest
    }

    fn at(&self, rows: &[i64]) -> Self {
        let k = self.ids.len() / self.logsumexp.len().max(1);
        let mut largest = Self::default();
        for row in rows.iter().map(|&row| row as usize) {
            largest.ids.extend(&self.ids[row * k..(row + 1) * k]);
            largest.logits.extend(&self.logits[row * k..(row + 1) * k]);
            largest.logsumexp.extend(self.logsumexp.get(row));
        }
        largest
    }
}

/// The clean run's predictions over a batch, computed or read once for all SAEs and sections.
#[derive(Debug)]
pub(crate) struct BatchCleanRun<'batch> {
    batch: &'batch Batch,
    upper_model: &'batch UpperModel,
    known: Known<'batch>,
}

#[derive(Debug)]
enum Known<'batch> {
    /// The residual stream `[rows.len(), d_model]` at the final norm's input, at the rows with a next token in any
    /// section.
    End {
        rows: Vec<i64>,
        end: Tensor,
    },
    /// `[rows, vocab]`: the cached logits at all rows of the batch.
    Logits(Tensor),
    Largest(&'batch Largest),
    /// No row has a next token.
    Nothing,
}

impl<'batch> BatchCleanRun<'batch> {
    pub(crate) fn new(
        method: KlMethod,
        batch: &'batch Batch,
        activations: &Activations,
        sections: &[SectionChoice],
        upper_model: &'batch UpperModel,
    ) -> Result<Self, EvaluateError> {
        let counts = |&row: &i64| sections.iter().any(|&section| batch.is_member(row, section));
        let rows: Vec<i64> = batch.counted(SectionChoice::All).into_iter().filter(counts).collect();
        let known = match method {
            _ if rows.is_empty() => Known::Nothing,
            KlMethod::Stored | KlMethod::StoredRounded => {
                let missing =
                    || ModelError::Input { problem: "the cache's logits: expected them all, got none".to_owned() };
                Known::Logits(batch.logits()?.ok_or_else(missing)?)
            }
            KlMethod::Recomputed => {
                let end = upper_model.end(batch, &upper_model.clean(activations)?, &rows)?;
                Known::End { rows, end }
            }
            KlMethod::Bound { .. } => Known::Largest(batch.largest()),
        };
        Ok(Self { batch, upper_model, known })
    }

    /// Losses and divergences of spliced or ablated runs at the rows `at`, which have a next token and are in a
    /// section. Each of `ends` is the residual stream `[at.len(), d_model]` at the final norm's input.
    pub(crate) fn divergences(&self, ends: &[Tensor], at: &[i64]) -> Result<Vec<Divergences>, EvaluateError> {
        match &self.known {
            Known::End { rows, end } if rows == at => self.read(CleanRun::Residual(end), ends, at),
            Known::End { rows, end } => {
                // Both lists are sorted.
                let places: Vec<i64> = at.iter().map(|row| rows.partition_point(|other| other < row) as i64).collect();
                let end = end.f_index_select(0, &Tensor::f_from_slice(&places)?.f_to_device(end.device())?)?;
                self.read(CleanRun::Residual(&end), ends, at)
            }
            Known::Logits(logits) => self.read(CleanRun::Logits { logits, rows: at }, ends, at),
            Known::Largest(largest) => {
                let Largest { ids, logits, logsumexp } = largest.at(at);
                let known = CleanRun::Largest { ids: &ids, logits: &logits, logsumexp: &logsumexp };
                self.read(known, ends, at)
            }
            Known::Nothing => Ok(vec![Divergences::default(); ends.len()]),
        }
    }

    fn read(&self, clean_run: CleanRun<'_>, ends: &[Tensor], at: &[i64]) -> Result<Vec<Divergences>, EvaluateError> {
        self.upper_model.divergences(clean_run, ends, &self.batch.labels_at(at))
    }
}
