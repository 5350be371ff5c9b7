//! The upper part of the model: from clean, spliced or ablated activations at the target to losses.

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{CleanRun, Decoder, Divergences, Portion, Positions, Residual, Site, Stop, kind};
use hayloft_runtime::{Dtype, Phase};
use tch::{Device, Kind, Tensor};

use crate::data::batch::{Activations, Batch};
use crate::error::EvaluateError;
use crate::session::splice_site::SpliceSite;

/// The blocks from the target up, the final norm and the unembedding. Lower layers are never loaded.
#[derive(Debug)]
pub(crate) struct UpperModel {
    decoder: Decoder,
    /// The site that reconstructions replace.
    target: Site,
}

/// Values at the target from which the forward pass continues.
#[derive(Debug)]
pub(crate) struct PatchedRun<'batch> {
    /// `[rows, width]`, in the model's precision.
    value: Tensor,
    /// Other sites that the forward pass needs, in their stored dtype.
    beside: &'batch [Tensor],
}

impl UpperModel {
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        target: Site,
        precision: Dtype,
        device: Device,
    ) -> Result<Self, EvaluateError> {
        Ok(Self { decoder: Decoder::load(checkpoint, Portion::From(target.rest()), precision, device)?, target })
    }

    pub(crate) fn precision(&self) -> Dtype {
        self.decoder.precision()
    }

    /// The unchanged target `[rows, width]` of a batch, in the model's precision.
    pub(crate) fn clean<'batch>(&self, activations: &'batch Activations) -> Result<PatchedRun<'batch>, EvaluateError> {
        Ok(PatchedRun { value: activations.in_model.f_to_kind(self.kind())?, beside: &activations.beside })
    }

    /// A batch's target with zeros at some rows.
    pub(crate) fn ablated<'batch>(
        &self,
        activations: &'batch Activations,
        rows: &[i64],
    ) -> Result<PatchedRun<'batch>, EvaluateError> {
        let PatchedRun { value, beside } = self.clean(activations)?;
        Ok(PatchedRun { value: value.f_index_fill(0, &self.index(rows)?, 0.0)?, beside })
    }

    /// A batch's target with `n` rows replaced by the unscaled `values` `[n, width]`.
    pub(crate) fn spliced<'batch>(
        &self,
        activations: &'batch Activations,
        rows: &[i64],
        values: &Tensor,
    ) -> Result<PatchedRun<'batch>, EvaluateError> {
        let values = values.f_to_kind(self.kind())?;
        if values.size() == activations.in_model.size() {
            return Ok(PatchedRun { value: values, beside: &activations.beside }); // every row, in order
        }
        let PatchedRun { value, beside } = self.clean(activations)?;
        Ok(PatchedRun { value: value.f_index_copy(0, &self.index(rows)?, &values)?, beside })
    }

    /// Next-token losses, in nats, at some rows of a batch with these values at the target. Only sequences with such
    /// rows pass through the blocks, and only those rows through the final norm and the unembedding.
    pub(crate) fn losses(&self, batch: &Batch, from: &PatchedRun<'_>, at: &[i64]) -> Result<Vec<f32>, EvaluateError> {
        self.losses_at_end(batch, &self.end(batch, from, at)?, at)
    }

    /// Next-token losses, in nats, at some rows of a batch with this residual stream `[at.len(), d_model]` at the final
    /// norm's input.
    pub(crate) fn losses_at_end(&self, batch: &Batch, end: &Tensor, at: &[i64]) -> Result<Vec<f32>, EvaluateError> {
        let _phase = Phase::Loss.begin(self.decoder.head_operations(at.len()));
        Ok(self.decoder.losses(end, &batch.labels_at(at))?)
    }

    /// Losses of changed runs and their divergences from the clean run, at rows with these labels. Each of `ends` is
    /// the residual stream `[labels.len(), d_model]` at the final norm's input.
    pub(crate) fn divergences(
        &self,
        clean_run: CleanRun<'_>,
        ends: &[Tensor],
        labels: &[i64],
    ) -> Result<Vec<Divergences>, EvaluateError> {
        let products = ends.len() + usize::from(matches!(clean_run, CleanRun::Residual(_)));
        let _phase = Phase::Loss.begin(self.decoder.head_operations(labels.len() * products));
        Ok(self.decoder.divergences(clean_run, ends, labels)?)
    }

    /// The residual stream `[at.len(), d_model]` at the final norm's input, at some rows of a batch with these values
    /// at the target. Only sequences with such rows pass through the blocks.
    pub(crate) fn end(&self, batch: &Batch, from: &PatchedRun<'_>, at: &[i64]) -> Result<Tensor, EvaluateError> {
        let layout = &batch.layout;
        let needed = layout.sequences_of(at);
        let length = layout.length as i64;
        let mut slots = slots(batch, at);
        if needed.len() < layout.sequences {
            for slot in &mut slots {
                // Only whole sequences are left out.
                let place = needed.partition_point(|&sequence| sequence < *slot / length) as i64;
                *slot = place * length + *slot % length;
            }
        }
        let end = self.finish(&self.stop(batch, from, &needed)?, needed.len(), layout.length)?;
        let _phase = Phase::Loss.begin(0);
        let all = end.stream.f_flatten(0, 1)?;
        Ok(if slots.len() as i64 == all.size()[0] { all } else { all.f_index_select(0, &self.index(&slots)?)? })
    }

    /// Pads rows `[rows, width]` of a batch to the model's input `[needed, pos, width]`, for the needed sequences only.
    fn padded(&self, batch: &Batch, needed: &[i64], rows: &Tensor) -> Result<Tensor, EvaluateError> {
        let layout = &batch.layout;
        let (sequences, length, width) = (layout.sequences as i64, layout.length as i64, rows.size()[1]);
        let padded = if layout.slots.len() as i64 == sequences * length {
            rows.f_view([sequences, length, width])?
        } else {
            Tensor::f_zeros([sequences * length, width], (rows.f_kind()?, self.decoder.device()))?
                .f_index_copy_(0, &self.index(&layout.slots)?, rows)?
                .f_view([sequences, length, width])?
        };
        Ok(if needed.len() < layout.sequences { padded.f_index_select(0, &self.index(needed)?)? } else { padded })
    }

    /// Some sequences of a batch, stopped at the target with these values.
    fn stop(&self, batch: &Batch, from: &PatchedRun<'_>, needed: &[i64]) -> Result<Stop, EvaluateError> {
        let beside = from.beside.iter().map(|rows| self.padded(batch, needed, &rows.f_to_kind(self.kind())?));
        let beside = beside.collect::<Result<_, _>>()?;
        Ok(Stop { site: self.target, value: self.padded(batch, needed, &from.value)?, beside })
    }

    /// Runs from a site to the end.
    fn finish(&self, stop: &Stop, sequences: usize, length: usize) -> Result<Residual, EvaluateError> {
        let n_blocks = self.decoder.spec().n_blocks;
        let positions = Positions::from_start(length);
        let blocks = n_blocks - stop.site.rest();
        let _phase = Phase::Advance.begin(self.decoder.advance_operations(sequences, length, blocks));
        let left = self.decoder.leave(stop, &positions)?;
        Ok(self.decoder.advance(&left, n_blocks, &positions)?)
    }

    /// As [`end`](Self::end), with rows replaced at further sites on the way, from the lowest to the highest. `put`
    /// receives the index of a further site and the activations at its input and its target, `[rows, width]` each, and
    /// returns the rows of the target to replace and their new values. Empty if no row is wanted.
    pub(crate) fn end_past(
        &self,
        batch: &Batch,
        from: &PatchedRun<'_>,
        further: &[SpliceSite],
        mut put: impl FnMut(usize, [Tensor; 2]) -> Result<(Vec<i64>, Tensor), EvaluateError>,
        at: &[i64],
    ) -> Result<Tensor, EvaluateError> {
        if further.is_empty() {
            return self.end(batch, from, at);
        }
        let layout = &batch.layout;
        let all: Vec<i64> = (0..layout.sequences as i64).collect();
        let mut stop = self.stop(batch, from, &all)?;
        for (index, SpliceSite { input_site, target_site, .. }) in further.iter().enumerate() {
            stop = self.go_on(batch, &stop, *input_site)?;
            let input = self.rows(batch, &stop.value)?;
            stop = self.go_on(batch, &stop, *target_site)?;
            let target = self.rows(batch, &stop.value)?;
            let (rows, values) = put(index, [input, target])?;
            stop = self.put(batch, stop, &rows, &values)?;
        }
        if at.is_empty() {
            return Ok(Tensor::new());
        }
        let end = self.finish(&stop, layout.sequences, layout.length)?;
        Ok(end.stream.f_flatten(0, 1)?.f_index_select(0, &self.index(&slots(batch, at))?)?)
    }

    /// Runs a batch forward to a later site.
    fn go_on(&self, batch: &Batch, from: &Stop, to: Site) -> Result<Stop, EvaluateError> {
        let blocks = to.rest().saturating_sub(from.site.rest());
        let layout = &batch.layout;
        let operations = self.decoder.advance_operations(layout.sequences, layout.length, blocks);
        let _phase = Phase::Advance.begin(operations);
        Ok(self.decoder.go_on(from, to, &Positions::from_start(layout.length))?)
    }

    /// The rows of a batch, `[rows, width]`, from padded values at a site, `[sequences, pos, width]`.
    fn rows(&self, batch: &Batch, value: &Tensor) -> Result<Tensor, EvaluateError> {
        Ok(value.f_flatten(0, 1)?.f_index_select(0, &self.index(&batch.layout.slots)?)?)
    }

    /// Replaces `n` rows at a site by `values` `[n, width]`.
    fn put(&self, batch: &Batch, at: Stop, rows: &[i64], values: &Tensor) -> Result<Stop, EvaluateError> {
        let shape = at.value.size();
        let rows = self.index(&slots(batch, rows))?;
        let flat = at.value.f_flatten(0, 1)?.f_index_copy(0, &rows, &values.f_to_kind(self.kind())?)?;
        Ok(Stop { value: flat.f_view(shape.as_slice())?, ..at })
    }

    /// Whether zeros at every position of the target give the same prediction at every position. Attention over equal
    /// values returns that value for any weights. False if the forward pass needs other sites too.
    pub(crate) fn is_same_everywhere_when_zero(&self) -> bool {
        self.target.beside(self.decoder.spec()).is_empty()
    }

    /// The residual stream `[1, d_model]` at the final norm's input with zeros at every position of the target. One row
    /// stands for all positions, if the prediction [is the same everywhere](Self::is_same_everywhere_when_zero).
    pub(crate) fn all_zero_end(&self) -> Result<Tensor, EvaluateError> {
        Ok(self.zero_end()?.stream.f_flatten(0, 1)?)
    }

    /// `[vocab]` float32, nats: the loss of each token as a label, with zeros at every position.
    pub(crate) fn all_zero_losses(&self) -> Result<Vec<f32>, EvaluateError> {
        let logits = self.decoder.logits(&self.zero_end()?)?.f_flatten(0, 2)?.f_to_kind(Kind::Double)?;
        Ok(Vec::<f64>::try_from(logits.f_log_softmax(-1, Kind::Double)?.f_neg()?)?
            .into_iter()
            .map(|loss| loss as f32)
            .collect())
    }

    fn zero_end(&self) -> Result<Residual, EvaluateError> {
        let width = self.target.width(self.decoder.spec()) as i64;
        let value = Tensor::f_zeros([1, 1, width], (self.kind(), self.decoder.device()))?;
        self.finish(&Stop { site: self.target, value, beside: Vec::new() }, 1, 1)
    }

    fn kind(&self) -> Kind {
        kind(self.decoder.precision())
    }

    fn index(&self, rows: &[i64]) -> Result<Tensor, EvaluateError> {
        Ok(Tensor::f_from_slice(rows)?.f_to_device(self.decoder.device())?)
    }
}

/// The indices of some rows in the flattened padded batch.
fn slots(batch: &Batch, rows: &[i64]) -> Vec<i64> {
    rows.iter().map(|&row| batch.layout.slots[row as usize]).collect()
}
