//! The model from the site to its end: from residuals, whatever was done to them, to losses.

use hayloft_model::{Checkpoint, Decoder, Divergences, Portion, Positions, Precision, Residual, Untouched};
use hayloft_terminal::Phase;
use tch::{Device, Kind, Tensor};

use crate::EvaluateError;
use crate::batch::{Activations, Batch};

/// The blocks from the site on, the final norm and the unembedding. The layers below the site are never loaded.
#[derive(Debug)]
pub(crate) struct UpperHalf {
    decoder: Decoder,
    /// The block that the site's residual enters.
    block: usize,
}

impl UpperHalf {
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        block: usize,
        precision: Precision,
        device: Device,
    ) -> Result<Self, EvaluateError> {
        Ok(Self { decoder: Decoder::load(checkpoint, Portion::From(block), precision, device)?, block })
    }

    pub(crate) fn precision(&self) -> Precision {
        self.decoder.precision()
    }

    /// A batch's residual `[rows, d_model]` in the model's precision, untouched.
    pub(crate) fn clean(&self, activations: &Activations) -> Result<Tensor, EvaluateError> {
        Ok(activations.rows.f_to_kind(self.kind())?)
    }

    /// A batch's residual with zeros at some rows.
    pub(crate) fn ablated(&self, activations: &Activations, rows: &[i64]) -> Result<Tensor, EvaluateError> {
        Ok(self.clean(activations)?.f_index_fill(0, &self.index(rows)?, 0.0)?)
    }

    /// A batch's residual with `values` `[n, d_model]`, in the model's own space, in place of `n` rows.
    pub(crate) fn spliced(
        &self,
        activations: &Activations,
        rows: &[i64],
        values: &Tensor,
    ) -> Result<Tensor, EvaluateError> {
        let values = values.f_to_kind(self.kind())?;
        if values.size() == activations.rows.size() {
            return Ok(values); // every row, in order
        }
        Ok(self.clean(activations)?.f_index_copy(0, &self.index(rows)?, &values)?)
    }

    /// Next-token losses, in nats, at some rows of a batch with the residual `[rows, d_model]`. Only sequences with such
    /// rows go through the blocks, and only those rows meet the final norm and the unembedding.
    pub(crate) fn losses(&self, batch: &Batch, residual: &Tensor, at: &[i64]) -> Result<Vec<f32>, EvaluateError> {
        let end = self.end(batch, residual, at)?;
        let _phase = Phase::Loss.begin(self.decoder.head_operations(at.len()));
        Ok(self.decoder.losses(&end, &batch.labels_at(at))?)
    }

    /// Losses of changed runs and how far they are from the untouched one, at rows with these labels; each of `ends` is the
    /// residual `[labels.len(), d_model]` that enters the final norm.
    pub(crate) fn divergences(
        &self,
        untouched: Untouched<'_>,
        ends: &[Tensor],
        labels: &[i64],
    ) -> Result<Vec<Divergences>, EvaluateError> {
        let products = ends.len() + usize::from(matches!(untouched, Untouched::Residual(_)));
        let _phase = Phase::Loss.begin(self.decoder.head_operations(labels.len() * products));
        Ok(self.decoder.divergences(untouched, ends, labels)?)
    }

    /// The residual `[at.len(), d_model]` that enters the final norm at some rows of a batch with the residual
    /// `[rows, d_model]` at the site. Only sequences with such rows go through the blocks.
    pub(crate) fn end(&self, batch: &Batch, residual: &Tensor, at: &[i64]) -> Result<Tensor, EvaluateError> {
        let layout = &batch.layout;
        let d_model = residual.size()[1];
        let needed = layout.sequences_of(at);
        let (sequences, length) = (layout.sequences as i64, layout.length as i64);
        let mut stream = if layout.slots.len() as i64 == sequences * length {
            residual.f_view([sequences, length, d_model])?
        } else {
            Tensor::f_zeros([sequences * length, d_model], (residual.f_kind()?, self.decoder.device()))?
                .f_index_copy_(0, &self.index(&layout.slots)?, residual)?
                .f_view([sequences, length, d_model])?
        };
        let mut slots: Vec<i64> = at.iter().map(|&row| layout.slots[row as usize]).collect();
        if needed.len() < layout.sequences {
            stream = stream.f_index_select(0, &self.index(&needed)?)?;
            for slot in &mut slots {
                // The sequences that are left out are before or after whole sequences.
                let place = needed.partition_point(|&sequence| sequence < *slot / length) as i64;
                *slot = place * length + *slot % length;
            }
        }
        let n_blocks = self.decoder.spec().n_blocks;
        let positions = Positions::from_start(layout.length);
        let end = {
            let operations = self.decoder.advance_operations(needed.len(), layout.length, n_blocks - self.block);
            let _phase = Phase::Advance.begin(operations);
            self.decoder.advance(&Residual { stream, block: self.block }, n_blocks, &positions)?
        };
        let _phase = Phase::Loss.begin(0);
        let all = end.stream.f_reshape([-1, d_model])?;
        Ok(if slots.len() as i64 == all.size()[0] { all } else { all.f_index_select(0, &self.index(&slots)?)? })
    }

    /// The residual `[1, d_model]` that enters the final norm where every position of every sequence is zero at the site:
    /// attention over equal values gives that value whatever its weights, so that every position says the same, and one
    /// position says it for all.
    pub(crate) fn all_zero_end(&self) -> Result<Tensor, EvaluateError> {
        Ok(self.zero_end()?.stream.f_flatten(0, 1)?)
    }

    /// Losses where every position of every sequence is zero. `[vocab]` float32, nats: the loss of each token as a label.
    pub(crate) fn all_zero_losses(&self) -> Result<Vec<f32>, EvaluateError> {
        let logits = self.decoder.logits(&self.zero_end()?)?.f_flatten(0, 2)?.f_to_kind(Kind::Double)?;
        Ok(Vec::<f64>::try_from(logits.f_log_softmax(-1, Kind::Double)?.f_neg()?)?
            .into_iter()
            .map(|loss| loss as f32)
            .collect())
    }

    fn zero_end(&self) -> Result<Residual, EvaluateError> {
        let spec = self.decoder.spec();
        let stream = Tensor::f_zeros([1, 1, spec.d_model as i64], (self.kind(), self.decoder.device()))?;
        let start = Residual { stream, block: self.block };
        Ok(self.decoder.advance(&start, spec.n_blocks, &Positions::from_start(1))?)
    }

    fn kind(&self) -> Kind {
        self.decoder.precision().kind()
    }

    fn index(&self, rows: &[i64]) -> Result<Tensor, EvaluateError> {
        Ok(Tensor::f_from_slice(rows)?.f_to_device(self.decoder.device())?)
    }
}
