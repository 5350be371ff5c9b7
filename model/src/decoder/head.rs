//! From the end of the residual stream to predictions, in chunks: the whole `[n, vocab]` never exists in float32.

use tch::{Kind, Tensor};

use super::Weights;
use super::norm::Norm;
use crate::ModelError;
use crate::spec::DecoderSpec;
use crate::weights::names;

/// Bytes of float32 logits that one chunk may take.
const CHUNK_BYTES: usize = 128 << 20;

/// What the model says at each of `n` rows.
#[derive(Debug)]
pub struct Predictions {
    /// `[n]` float32, nats: minus the log-probability of the label; NaN where the label is -1.
    pub loss: Tensor,
    /// `[n]` float32: the logarithm of the sum of the exponentials of the logits.
    pub logsumexp: Tensor,
    /// `[n]` float32, nats: entropy of the predicted distribution.
    pub entropy: Tensor,
    /// `[n, k]` i64: the tokens with the largest logits, largest first.
    pub top_ids: Tensor,
    /// `[n, k]` float32: their logits.
    pub top_logits: Tensor,
}

/// The final norm and the unembedding.
#[derive(Debug)]
pub(super) struct Head {
    norm: Norm,
    /// `[vocab, d_model]`.
    unembedding: Tensor,
    chunk_rows: i64,
}

impl Head {
    pub(super) fn load(spec: &DecoderSpec, unembedding: Tensor, weights: &Weights<'_>) -> Result<Self, ModelError> {
        let norm = Norm::load(&spec.norm, names::FINAL_NORM, weights)?;
        let chunk_rows = (CHUNK_BYTES / (4 * spec.vocab_size)).max(1) as i64;
        Ok(Self { norm, unembedding, chunk_rows })
    }

    /// `[.., d_model]` → `[.., vocab]`, in the activations' type.
    pub(super) fn logits(&self, end: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.norm.forward(end)?.f_linear(&self.unembedding, None::<&Tensor>)?)
    }

    /// `[n, d_model]`, `[n]` → `[n]`.
    pub(super) fn losses(&self, rows: &Tensor, labels: &Tensor) -> Result<Tensor, ModelError> {
        let losses = self.in_chunks(rows, labels, |logits, labels| {
            let logsumexp = logits.f_logsumexp(-1, false)?;
            label_loss(logits, labels, &logsumexp)
        })?;
        Ok(Tensor::f_cat(&losses, 0)?)
    }

    /// `[n, d_model]`, `[n]` → predictions.
    pub(super) fn predictions(&self, rows: &Tensor, labels: &Tensor, top_k: usize) -> Result<Predictions, ModelError> {
        let parts = self.in_chunks(rows, labels, |logits, labels| {
            let logsumexp = logits.f_logsumexp(-1, false)?;
            // Entropy is logsumexp minus the mean logit under the predicted distribution.
            let probabilities = logits.f_sub(&logsumexp.f_unsqueeze(-1)?)?.f_exp()?;
            let mean_logit = probabilities.f_mul(logits)?.f_sum_dim_intlist(-1, false, Kind::Float)?;
            let entropy = logsumexp.f_sub(&mean_logit)?;
            let (top_logits, top_ids) = logits.f_topk(top_k as i64, -1, true, true)?;
            Ok(Predictions { loss: label_loss(logits, labels, &logsumexp)?, logsumexp, entropy, top_ids, top_logits })
        })?;
        Predictions::join(&parts)
    }

    /// Computes float32 logits chunk by chunk and collects what `read` makes of each. There is at least one chunk, so
    /// that no rows give empty tensors of the right shapes.
    fn in_chunks<T>(
        &self,
        rows: &Tensor,
        labels: &Tensor,
        read: impl Fn(&Tensor, &Tensor) -> Result<T, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        let count = rows.size()[0];
        if labels.size() != [count] {
            let problem = format!("labels: expected [{count}] as there are rows, got {:?}", labels.size());
            return Err(ModelError::Input { problem });
        }
        let starts = (0..count.max(1)).step_by(self.chunk_rows as usize);
        let chunk = |start: i64| {
            let length = self.chunk_rows.min(count - start);
            let logits = self.logits(&rows.f_narrow(0, start, length)?)?.f_to_kind(Kind::Float)?;
            read(&logits, &labels.f_narrow(0, start, length)?)
        };
        starts.map(chunk).collect()
    }
}

impl Predictions {
    fn join(parts: &[Self]) -> Result<Self, ModelError> {
        let column = |pick: fn(&Self) -> &Tensor| Tensor::f_cat(&parts.iter().map(pick).collect::<Vec<_>>(), 0);
        Ok(Self {
            loss: column(|part| &part.loss)?,
            logsumexp: column(|part| &part.logsumexp)?,
            entropy: column(|part| &part.entropy)?,
            top_ids: column(|part| &part.top_ids)?,
            top_logits: column(|part| &part.top_logits)?,
        })
    }
}

/// Logits `[n, vocab]`, labels `[n]`, logsumexp `[n]` → loss `[n]`, NaN where the label is -1.
fn label_loss(logits: &Tensor, labels: &Tensor, logsumexp: &Tensor) -> Result<Tensor, ModelError> {
    let columns = labels.f_clamp_min(0)?.f_unsqueeze(-1)?;
    let label_logits = logits.f_gather(-1, &columns, false)?.f_squeeze_dim(-1)?;
    let unlabelled = labels.f_lt(0)?;
    Ok(logsumexp.f_sub(&label_logits)?.f_masked_fill(&unlabelled, f64::NAN)?)
}
