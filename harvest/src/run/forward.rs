//! The forward pass over one row group: tokens in, bytes and numbers out. All tensors stay in here.

use hayloft_model::{Decoder, Positions, Residual, Site};
use hayloft_store::{KeptPredictions, Predictions, SiteName};
use tch::Tensor;

use crate::error::HarvestError;

/// The sequences of one row group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'shard> {
    /// The tokens of all sequences, one after another, `[rows]`.
    pub(super) tokens: &'shard [u32],
    /// The sequences' lengths; their sum is the number of rows.
    pub(super) lengths: &'shard [usize],
}

/// A model with the sites that are wanted from it.
#[derive(Debug)]
pub(super) struct Forward {
    decoder: Decoder,
    /// In the order in which a residual comes by them.
    sites: Vec<(Site, SiteName)>,
    kept: Option<KeptPredictions>,
}

impl Forward {
    pub(super) fn new(decoder: Decoder, mut sites: Vec<(Site, SiteName)>, kept: Option<KeptPredictions>) -> Self {
        sites.sort_by_key(|(site, _)| (site.block(), *site));
        Self { decoder, sites, kept }
    }

    /// Runs the model over a batch.
    ///
    /// Hands each site's activations to `take` as soon as they are there: `[rows, d_model]` little-endian words of the
    /// decoder's precision, without padding. Returns the predictions at the same rows, if any are kept.
    pub(super) fn batch(
        &self,
        batch: Batch<'_>,
        mut take: impl FnMut(&SiteName, Vec<u8>) -> Result<(), HarvestError>,
    ) -> Result<Option<Predictions>, HarvestError> {
        let device = self.decoder.device();
        let padded = Padded::new(batch);
        let tokens = Tensor::f_from_slice(&padded.tokens)?
            .f_view([batch.lengths.len() as i64, padded.width as i64])?
            .f_to_device(device)?;
        let rows = match padded.rows {
            Some(rows) => Some(Tensor::f_from_slice(&rows)?.f_to_device(device)?),
            None => None,
        };
        let positions = Positions::from_start(padded.width);
        let mut residual = self.decoder.embed(&tokens)?;
        for (site, name) in &self.sites {
            residual = self.advance(residual, site.block(), positions)?;
            take(name, bytes(&gather(&residual, rows.as_ref())?)?)?;
        }
        let Some(kept) = self.kept else { return Ok(None) };
        let end = self.advance(residual, self.decoder.spec().n_blocks, positions)?;
        let labels = Tensor::f_from_slice(&labels(batch))?.f_to_device(device)?;
        self.predict(&gather(&end, rows.as_ref())?, &labels, kept).map(Some)
    }

    fn advance(&self, from: Residual, to: usize, positions: Positions<'_>) -> Result<Residual, HarvestError> {
        if from.block == to { Ok(from) } else { Ok(self.decoder.advance(&from, to, &positions)?) }
    }

    fn predict(&self, rows: &Tensor, labels: &Tensor, kept: KeptPredictions) -> Result<Predictions, HarvestError> {
        let top_k = kept.top_k as usize;
        let predictions = self.decoder.predictions(rows, labels, top_k)?;
        let mut top_ids = vec![0_i64; predictions.top_ids.numel()];
        let count = top_ids.len();
        predictions.top_ids.f_copy_data(&mut top_ids, count)?;
        Ok(Predictions {
            loss: floats(&predictions.loss)?,
            logsumexp: floats(&predictions.logsumexp)?,
            entropy: floats(&predictions.entropy)?,
            top_k,
            top_ids: top_ids.into_iter().map(|id| id as u32).collect(),
            top_logits: floats(&predictions.top_logits)?,
        })
    }
}

/// A batch as the model takes it, `[batch, pos]`, padded on the right.
struct Padded {
    /// `[batch * pos]`. Under the causal mask nobody looks at the padding, so any token will do.
    tokens: Vec<i64>,
    width: usize,
    /// Where in `tokens` the rows lie; `None` where there is no padding.
    rows: Option<Vec<i64>>,
}

impl Padded {
    fn new(batch: Batch<'_>) -> Self {
        let width = batch.lengths.iter().copied().max().unwrap_or(0);
        let mut tokens = vec![0; batch.lengths.len() * width];
        let mut rows = Vec::with_capacity(batch.tokens.len());
        let mut rest = batch.tokens;
        for (index, length) in batch.lengths.iter().enumerate() {
            let (sequence, later) = rest.split_at(*length);
            let start = index * width;
            for (place, token) in tokens[start..].iter_mut().zip(sequence) {
                *place = i64::from(*token);
            }
            rows.extend((start..start + length).map(|row| row as i64));
            rest = later;
        }
        let padding = rows.len() < tokens.len();
        Self { tokens, width, rows: padding.then_some(rows) }
    }
}

/// The token after each row's own, `[rows]`; -1 at the end of each sequence.
fn labels(batch: Batch<'_>) -> Vec<i64> {
    let mut labels = Vec::with_capacity(batch.tokens.len());
    let mut rest = batch.tokens;
    for length in batch.lengths {
        let (sequence, later) = rest.split_at(*length);
        labels.extend(sequence.iter().skip(1).map(|token| i64::from(*token)));
        labels.push(-1);
        rest = later;
    }
    labels
}

/// The residual `[batch, pos, d_model]` without its padding, `[rows, d_model]`.
fn gather(residual: &Residual, rows: Option<&Tensor>) -> Result<Tensor, HarvestError> {
    let all = residual.stream.f_flatten(0, 1)?;
    Ok(match rows {
        Some(rows) => all.f_index_select(0, rows)?,
        None => all,
    })
}

/// A tensor's words as they lie in memory.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>, HarvestError> {
    let count = tensor.numel();
    let mut bytes = vec![0; count * tensor.f_kind()?.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, count)?;
    Ok(bytes)
}

/// A float32 tensor's numbers.
fn floats(tensor: &Tensor) -> Result<Vec<f32>, HarvestError> {
    let mut numbers = vec![0.0; tensor.numel()];
    let count = numbers.len();
    tensor.f_copy_data(&mut numbers, count)?;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_padded_on_the_right() {
        let padded = Padded::new(Batch { tokens: &[1, 2, 3, 4, 5, 6], lengths: &[3, 2, 1] });
        assert_eq!(padded.tokens, [1, 2, 3, 4, 5, 0, 6, 0, 0]);
        assert_eq!(padded.rows.unwrap(), [0, 1, 2, 3, 4, 6]);
        let padded = Padded::new(Batch { tokens: &[1, 2, 3, 4], lengths: &[2, 2] });
        assert_eq!((padded.width, padded.rows), (2, None));
    }

    #[test]
    fn labels_are_the_next_tokens() {
        assert_eq!(labels(Batch { tokens: &[1, 2, 3, 4, 5, 6], lengths: &[3, 2, 1] }), [2, 3, -1, 5, -1, -1]);
    }
}
