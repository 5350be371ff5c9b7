//! The model from the site to its end: from residuals, whatever was done to them, to losses.

use hayloft_model::{Decoder, Portion, Positions, Residual};
use tch::{Device, Tensor};

use crate::EvaluateError;
use crate::batch::{Activations, Batch};
use crate::subject::Subject;

/// The blocks from the site on, the final norm and the unembedding. The layers below the site are never loaded.
#[derive(Debug)]
pub(crate) struct UpperHalf {
    decoder: Decoder,
    /// The block that the site's residual enters.
    block: usize,
}

impl UpperHalf {
    pub(crate) fn load(subject: &Subject, device: Device) -> Result<Self, EvaluateError> {
        let portion = Portion::From(subject.block);
        let decoder = Decoder::load(&subject.checkpoint, portion, subject.precision, device)?;
        Ok(Self { decoder, block: subject.block })
    }

    pub(crate) fn device(&self) -> Device {
        self.decoder.device()
    }

    /// A batch's residual `[rows, d_model]` in the model's precision, untouched.
    pub(crate) fn clean(&self, activations: &Activations) -> Result<Tensor, EvaluateError> {
        Ok(activations.rows.f_to_kind(self.decoder.precision().kind())?)
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
        let clean = self.clean(activations)?;
        Ok(clean.f_index_copy(0, &self.index(rows)?, &values.f_to_kind(self.decoder.precision().kind())?)?)
    }

    /// Next-token losses, in nats, at some rows of a batch with the residual `[rows, d_model]`. Only those rows meet the
    /// final norm and the unembedding.
    pub(crate) fn losses(&self, batch: &Batch, residual: &Tensor, at: &[i64]) -> Result<Vec<f32>, EvaluateError> {
        let layout = &batch.layout;
        let d_model = residual.size()[1];
        let (sequences, length) = (layout.sequences as i64, layout.length as i64);
        let padded = Tensor::f_zeros([sequences * length, d_model], (residual.f_kind()?, self.device()))?
            .f_index_copy_(0, &self.index(&layout.slots)?, residual)?;
        let start = Residual { stream: padded.f_view([sequences, length, d_model])?, block: self.block };
        let n_blocks = self.decoder.spec().n_blocks;
        let end = self.decoder.advance(&start, n_blocks, &Positions::from_start(layout.length))?;
        let slots: Vec<i64> = at.iter().map(|&row| layout.slots[row as usize]).collect();
        let rows = end.stream.f_reshape([-1, d_model])?.f_index_select(0, &self.index(&slots)?)?;
        let losses = self.decoder.losses(&rows, &self.index(&batch.labels_at(at))?)?;
        Ok(Vec::try_from(losses)?)
    }

    fn index(&self, rows: &[i64]) -> Result<Tensor, EvaluateError> {
        Ok(Tensor::f_from_slice(rows)?.f_to_device(self.device())?)
    }
}
