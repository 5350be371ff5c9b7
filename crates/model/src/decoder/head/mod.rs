//! Final norm, unembedding and predictions, in pieces: the full `[n, vocab]` never exists in float32.

mod bound;
mod divergence;
mod divergences;
mod effects;
mod exponential;
mod largest;
mod logit_tiles;
mod online_softmax;

use hayloft_checkpoint::{DecoderSpec, NormKind, tensor_names};
use tch::{Device, Kind, TchError, Tensor};

pub use self::divergences::{CleanRun, Divergences};
pub use self::effects::LogitEffects;
pub use self::largest::Largest;

use self::logit_tiles::LogitTiles;
use self::online_softmax::{Detail, Row};
use super::Weights;
use super::norm::Norm;
use crate::error::ModelError;
use crate::tensors::shared_tensor::SharedTensor;
use crate::tensors::tensor_slice;

/// Rows and tokens of one piece of logits on a CPU, 2 MiB of float32: large enough for products at full speed, small enough
/// for the result to be read from the core's cache.
const TILE_ROWS: i64 = 512;
const TILE_TOKENS: i64 = 1024;

/// Bytes of float32 logits, all tokens of some rows, per piece on a GPU.
const GPU_BYTES: usize = 128 << 20;

/// Predictions of the model at `n` rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// `[n]`, nats: negative log-probability of the label. NaN where the label is -1.
    pub loss: Vec<f32>,
    /// `[n]`: log of the sum of exponentials of the logits.
    pub logsumexp: Vec<f32>,
    /// `[n]`, nats: entropy of the predicted distribution.
    pub entropy: Vec<f32>,
    /// `[n, k]`: the tokens with the largest logits, largest first.
    pub top_ids: Vec<u32>,
    /// `[n, k]`: the logits of these tokens.
    pub top_logits: Vec<f32>,
}

/// The final norm and the unembedding.
#[derive(Debug)]
pub(super) struct Head {
    norm: Norm,
    /// `[vocab, d_model]`.
    unembedding: SharedTensor,
    /// `[vocab]`.
    bias: Option<SharedTensor>,
    /// c of the soft cap c · tanh(l / c).
    soft_cap: Option<f64>,
}

impl Head {
    pub(super) fn load(
        spec: &DecoderSpec,
        unembedding: SharedTensor,
        weights: &Weights<'_>,
    ) -> Result<Self, ModelError> {
        let norm = tensor_names::of(spec.layout).final_norm;
        let bias = (spec.norm.kind == NormKind::Layer).then(|| format!("{norm}.bias"));
        let norm = Norm::load(&spec.norm, &format!("{norm}.weight"), bias.as_deref(), weights)?;
        let bias = if spec.head_bias { Some(weights.load(tensor_names::HEAD_BIAS)?) } else { None };
        Ok(Self { norm, unembedding, bias, soft_cap: spec.logit_soft_cap })
    }

    /// `[.., d_model]` → `[.., vocab]`, in the activations' type.
    pub(super) fn logits(&self, end: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.capped(self.norm.forward(end)?.f_linear(&self.unembedding, self.bias.as_deref())?)?)
    }

    /// Applies the soft cap to logits of the unembedding, in their type.
    fn capped(&self, logits: Tensor) -> Result<Tensor, TchError> {
        match self.soft_cap {
            Some(cap) => logits.f_div_scalar(cap)?.f_tanh_()?.f_mul_scalar(cap),
            None => Ok(logits),
        }
    }

    /// `[n, d_model]`, `[n]` → loss `[n]`.
    pub(super) fn losses(&self, rows: &Tensor, labels: &[i64]) -> Result<Vec<f32>, ModelError> {
        Ok(self.read(rows, labels, Detail::Loss, None)?.loss)
    }

    /// `[n, d_model]`, `[n]` → predictions.
    pub(super) fn predictions(&self, rows: &Tensor, labels: &[i64], top_k: usize) -> Result<Predictions, ModelError> {
        self.read(rows, labels, Detail::Full(top_k), None)
    }

    /// As `predictions`; also appends the logits, `[n, vocab]` words of the activations' type, to `logits`.
    pub(super) fn predictions_and_logits(
        &self,
        rows: &Tensor,
        labels: &[i64],
        top_k: usize,
        logits: &mut Vec<u8>,
    ) -> Result<Predictions, ModelError> {
        self.read(rows, labels, Detail::Full(top_k), Some(logits))
    }

    fn read(
        &self,
        rows: &Tensor,
        labels: &[i64],
        detail: Detail,
        mut kept: Option<&mut Vec<u8>>,
    ) -> Result<Predictions, ModelError> {
        let count = rows.size()[0];
        check_count("labels", labels.len(), count)?;
        let on_cpu = rows.device() == Device::Cpu;
        let vocab_size = self.vocab_size();
        self.check_labels(labels)?;
        let most = if on_cpu { TILE_ROWS } else { (GPU_BYTES as i64 / (4 * vocab_size)).max(1) };
        let mut predictions = Predictions::default();
        for start in (0..count).step_by(most as usize) {
            let length = most.min(count - start);
            let normed = self.norm.forward(&rows.f_narrow(0, start, length)?)?;
            let labels = &labels[start as usize..(start + length) as usize];
            if on_cpu {
                self.read_on_cpu(&normed, labels, detail, &mut predictions, kept.as_deref_mut())?;
            } else {
                self.read_on_gpu(&normed, labels, detail, &mut predictions, kept.as_deref_mut())?;
            }
        }
        Ok(predictions)
    }

    /// Runs over tiles of the vocabulary, each computed once.
    fn read_on_cpu(
        &self,
        normed: &Tensor,
        labels: &[i64],
        detail: Detail,
        predictions: &mut Predictions,
        kept: Option<&mut Vec<u8>>,
    ) -> Result<(), ModelError> {
        let mut kept = kept.map(|kept| LogitTiles::append_to(kept, labels.len(), self.vocab_size() as usize));
        let mut rows: Vec<Row> = labels.iter().map(|&label| Row::new(label, detail)).collect();
        for (first, tokens) in self.tiles() {
            let tile = self.product(normed, first, tokens)?;
            if let Some(kept) = &mut kept {
                kept.write(first as usize, tokens as usize, tensor_slice::bytes(&tile)?);
            }
            let tile = tile.f_to_kind(Kind::Float)?;
            let logits = tensor_slice::floats(&tile)?;
            pulp::Arch::new().dispatch(|| {
                for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(tokens as usize)) {
                    row.add(first as usize, logits);
                }
            });
        }
        for row in rows {
            predictions.loss.push(row.loss());
            predictions.logsumexp.push(row.logsumexp());
            predictions.entropy.push(row.entropy());
            for (logit, id) in row.largest.finish() {
                predictions.top_ids.push(id);
                predictions.top_logits.push(logit);
            }
        }
        Ok(())
    }

    fn vocab_size(&self) -> i64 {
        self.unembedding.size()[0]
    }

    fn check_labels(&self, labels: &[i64]) -> Result<(), ModelError> {
        let vocab_size = self.vocab_size();
        let Some(label) = labels.iter().find(|&&label| label >= vocab_size) else { return Ok(()) };
        let problem = format!("labels: expected tokens below {vocab_size}, got {label}");
        Err(ModelError::Input { problem })
    }

    /// The tiles of the vocabulary on a CPU: first token and number of tokens of each.
    fn tiles(&self) -> impl Iterator<Item = (i64, i64)> + use<> {
        let vocab_size = self.vocab_size();
        (0..vocab_size).step_by(TILE_TOKENS as usize).map(move |first| (first, TILE_TOKENS.min(vocab_size - first)))
    }

    /// Logits `[n, tokens]` of a range of tokens, rounded to the activations' type and returned as float32.
    fn tile_f32(&self, normed: &Tensor, first: i64, tokens: i64) -> Result<Tensor, ModelError> {
        Ok(self.product(normed, first, tokens)?.f_to_kind(Kind::Float)?)
    }

    /// As `tile_f32`, in the activations' type.
    fn product(&self, normed: &Tensor, first: i64, tokens: i64) -> Result<Tensor, ModelError> {
        let bias = self.bias.as_ref().map(|bias| bias.f_narrow(0, first, tokens)).transpose()?;
        Ok(self.capped(normed.f_linear(&self.unembedding.f_narrow(0, first, tokens)?, bias.as_ref())?)?)
    }

    /// Computes the whole vocabulary at once with LibTorch's kernels.
    fn read_on_gpu(
        &self,
        normed: &Tensor,
        labels: &[i64],
        detail: Detail,
        predictions: &mut Predictions,
        kept: Option<&mut Vec<u8>>,
    ) -> Result<(), ModelError> {
        let logits = self.product(normed, 0, self.vocab_size())?;
        if let Some(kept) = kept {
            kept.extend_from_slice(tensor_slice::bytes(&logits.f_to_device(Device::Cpu)?.f_contiguous()?)?);
        }
        let logits = logits.f_to_kind(Kind::Float)?;
        let labels = Tensor::f_from_slice(labels)?.f_to_device(logits.device())?;
        let logsumexp = logits.f_logsumexp(-1, false)?;
        predictions.loss.extend(Vec::<f32>::try_from(label_loss(&logits, &labels, &logsumexp)?)?);
        if let Detail::Full(top_k) = detail {
            // Entropy = logsumexp − expected logit under the predicted distribution.
            let probabilities = logits.f_sub(&logsumexp.f_unsqueeze(-1)?)?.f_exp()?;
            let mean_logit = probabilities.f_mul(&logits)?.f_sum_dim_intlist(-1, false, Kind::Float)?;
            predictions.entropy.extend(Vec::<f32>::try_from(logsumexp.f_sub(&mean_logit)?)?);
            let (top_logits, top_ids) = logits.f_topk(top_k as i64, -1, true, true)?;
            predictions.top_logits.extend(Vec::<f32>::try_from(top_logits.f_flatten(0, 1)?)?);
            predictions.top_ids.extend(Vec::<i64>::try_from(top_ids.f_flatten(0, 1)?)?.into_iter().map(|id| id as u32));
            predictions.logsumexp.extend(Vec::<f32>::try_from(logsumexp)?);
        }
        Ok(())
    }
}

/// Refuses a list whose length differs from the number of rows.
fn check_count(what: &str, got: usize, count: i64) -> Result<(), ModelError> {
    if got as i64 == count {
        return Ok(());
    }
    Err(ModelError::Input { problem: format!("{what}: expected {count} as there are rows, got {got}") })
}

/// Logits `[n, vocab]`, labels `[n]`, logsumexp `[n]` → loss `[n]`, NaN where the label is -1.
fn label_loss(logits: &Tensor, labels: &Tensor, logsumexp: &Tensor) -> Result<Tensor, ModelError> {
    let columns = labels.f_clamp_min(0)?.f_unsqueeze(-1)?;
    let label_logits = logits.f_gather(-1, &columns, false)?.f_squeeze_dim(-1)?;
    let unlabelled = labels.f_lt(0)?;
    Ok(logsumexp.f_sub(&label_logits)?.f_masked_fill(&unlabelled, f64::NAN)?)
}
