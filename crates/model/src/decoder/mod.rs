//! The forward pass: embed, advance, stop at a site and continue, predict.

mod attention;
mod attention_mask;
mod block;
mod cache;
mod head;
mod linear;
mod mlp;
mod norm;
mod rotary;
mod sites;

use hayloft_checkpoint::{
    AttentionSpec, Checkpoint, DecoderSpec, HeadWeights, MlpGate, PositionSpec, Stored, WeightFiles, tensor_names,
};
use tch::{Device, Kind, Tensor};

pub use self::cache::KeyValueCache;
pub use self::head::{CleanRun, Divergences, Largest, LogitEffects, Predictions};

use self::attention_mask::{AttendedKeys, Extension};
use self::block::Block;
use self::head::Head;
use self::rotary::{Angles, Rotary};
use crate::compute::kind::kind;
use crate::error::ModelError;
use crate::residual::Positions;
use crate::residual::Residual;
use crate::tensors::load::{load, piece};
use crate::tensors::shared_tensor::SharedTensor;
use hayloft_runtime::Dtype;

/// Which part of a model to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// The whole model.
    Whole,
    /// The embedding and the blocks before this one: enough to compute the residual that enters it.
    Below(usize),
    /// This block, all later ones, the final norm and the unembedding: enough to continue from a stored residual.
    From(usize),
}

/// A decoder-only model, or a portion of one, on a device.
///
/// Threads may share one: its weights are never written.
#[derive(Debug)]
pub struct Decoder {
    spec: DecoderSpec,
    precision: Dtype,
    device: Device,
    /// The rotary embeddings of the blocks.
    rotaries: Vec<Rotary>,
    /// `[vocab, d_model]`.
    embedding: Option<SharedTensor>,
    /// `[context_length, d_model]`, in models with learned positions.
    positions: Option<SharedTensor>,
    /// Number of the block at `blocks[0]`.
    first_block: usize,
    blocks: Vec<Block>,
    head: Option<Head>,
}

impl Decoder {
    /// Copies a portion of a checkpoint's weights to `device`, converted to `precision`.
    pub fn load(
        checkpoint: &Checkpoint,
        portion: Portion,
        precision: Dtype,
        device: Device,
    ) -> Result<Self, ModelError> {
        let spec = checkpoint.spec().clone();
        let weights = Weights { files: checkpoint.weights(), precision, device };
        let (first, last) = match portion {
            Portion::Whole => (0, spec.n_blocks),
            Portion::Below(block) => (0, block),
            Portion::From(block) => (block, spec.n_blocks),
        };
        if first > spec.n_blocks || last > spec.n_blocks {
            let asked = format!("block {}", first.max(last));
            return Err(ModelError::NotLoaded { asked, loaded: format!("the model has {} blocks", spec.n_blocks) });
        }
        let reads_tokens = !matches!(portion, Portion::From(_));
        let predicts = !matches!(portion, Portion::Below(_));
        let outer = tensor_names::of(spec.layout);
        let embedding = if reads_tokens { Some(weights.load(outer.embedding)?) } else { None };
        let positions = match spec.positions {
            PositionSpec::Learned { offset } if reads_tokens => Some(weights.load_positions(&spec, offset)?),
            _ => None,
        };
        let head = match (predicts, spec.head, &embedding) {
            (false, _, _) => None,
            (true, HeadWeights::Tied, Some(embedding)) => Some(embedding.shallow_clone().into()),
            (true, HeadWeights::Tied, None) => Some(weights.load(outer.embedding)?),
            (true, HeadWeights::Own, _) => Some(weights.load(outer.head)?),
        };
        let head = head.map(|unembedding| Head::load(&spec, unembedding, &weights)).transpose()?;
        let blocks = (first..last).map(|block| Block::load(&spec, block, &weights)).collect::<Result<_, _>>()?;
        let rotaries = spec.ropes().iter().map(|rope| Rotary::new(rope, device)).collect::<Result<_, _>>()?;
        Ok(Self { spec, precision, device, rotaries, embedding, positions, first_block: first, blocks, head })
    }

    /// The architecture of the model.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The number type of the computation.
    pub fn precision(&self) -> Dtype {
        self.precision
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Embeds tokens `[batch, pos]` (i64, on the device) into the residual that enters block 0.
    pub fn embed(&self, tokens: &Tensor) -> Result<Residual, ModelError> {
        self.embed_at(tokens, Positions::from_start(*tokens.size().last().unwrap_or(&0) as usize))
    }

    /// As `embed`, for tokens at other positions than the start of their sequences.
    fn embed_at(&self, tokens: &Tensor, positions: Positions<'_>) -> Result<Residual, ModelError> {
        let embedding = self.embedding.as_ref().ok_or_else(|| self.not_loaded("the embedding"))?;
        self.check_length(*tokens.size().last().unwrap_or(&0))?;
        let mut stream = Tensor::f_embedding(embedding, tokens, -1, false, false)?;
        if let Some(scale) = self.spec.embedding_scale {
            // The scale is rounded to the activations' type first: in bf16 the square root of 2048 is 45.25.
            let scale = Tensor::f_from_slice(&[scale])?.f_to_device(self.device)?.f_to_kind(kind(self.precision))?;
            stream = stream.f_mul(&scale)?;
        }
        if let Some(learned) = &self.positions {
            let places = positions.as_tensor(Kind::Int64, self.device)?;
            // Padding may exceed the last position; its values are never read.
            let places = places.f_clamp_max(self.spec.context_length as i64 - 1)?;
            stream = stream.f_add(&Tensor::f_embedding(learned, &places, -1, false, false)?)?;
        }
        Ok(Residual { stream, block: 0 })
    }

    /// Runs the residual through the blocks `from.block .. to`.
    ///
    /// Splitting the range over several calls gives the same bits.
    pub fn advance(&self, from: &Residual, to: usize, positions: &Positions<'_>) -> Result<Residual, ModelError> {
        let loaded = self.first_block..=self.first_block + self.blocks.len();
        if from.block > to || !loaded.contains(&from.block) || !loaded.contains(&to) {
            return Err(self.not_loaded(&format!("block {} to block {to}", from.block)));
        }
        let shape = from.stream.size();
        let expected = [positions.length() as i64, self.spec.d_model as i64];
        if shape.len() != 3 || shape[1..] != expected {
            let problem = format!("residual: expected [batch, {}, {}], got {shape:?}", expected[0], expected[1]);
            return Err(ModelError::Input { problem });
        }
        self.check_length(shape[1])?;
        let angles = self.angles(*positions)?;
        let mut stream = from.stream.shallow_clone();
        for block in &self.blocks[from.block - self.first_block..to - self.first_block] {
            stream = block.forward(&stream, angles_of(&angles, block), AttendedKeys::Batch)?;
        }
        Ok(Residual { stream, block: to })
    }

    /// Creates an empty cache for `batch` sequences of up to `capacity` tokens each.
    pub fn cache(&self, batch: usize, capacity: usize) -> Result<KeyValueCache, ModelError> {
        self.check_length(capacity as i64)?;
        let options = (kind(self.precision), self.device);
        KeyValueCache::new(self.blocks.len(), &self.spec.attention, batch, capacity, options)
    }

    /// Appends tokens to a cache and returns the logits `[batch, vocab]`, in the decoder's precision, after the last new
    /// token of each row.
    ///
    /// `tokens` are `[batch, pos]` (i64, on the device), with the same rows as the cache and padded on the right: the first
    /// `lengths[row]` of each row, at least one, are real. On an empty cache the computation is exactly that of
    /// [`advance`](Self::advance).
    pub fn extend(&self, cache: &mut KeyValueCache, tokens: &Tensor, lengths: &[usize]) -> Result<Tensor, ModelError> {
        if self.blocks.len() != self.spec.n_blocks {
            return Err(self.not_loaded("every block"));
        }
        let length = cache.check_room(tokens, lengths)?;
        let extension = Extension::new(&self.spec, cache, length, (kind(self.precision), self.device))?;
        let positions = match &extension.earlier {
            None => Positions::from_start(length),
            Some(_) => Positions::from_each(cache.lengths(), length),
        };
        let angles = self.angles(positions)?;
        let mut stream = self.embed_at(tokens, positions)?.stream;
        for (block, kept) in self.blocks.iter().zip(&mut cache.blocks) {
            stream = block.forward(&stream, angles_of(&angles, block), AttendedKeys::Cached(kept, &extension))?;
        }
        cache.lengthen(lengths);
        let last = lengths.iter().enumerate().map(|(row, taken)| (row * length + taken) as i64 - 1);
        let last = Tensor::f_from_slice(&last.collect::<Vec<_>>())?.f_to_device(self.device)?;
        self.head()?.logits(&stream.f_flatten(0, 1)?.f_index_select(0, &last)?)
    }

    /// Logits `[batch, pos, vocab]` in the decoder's precision. Not chunked, so for small inputs only.
    pub fn logits(&self, end: &Residual) -> Result<Tensor, ModelError> {
        self.check_end(end)?;
        self.head()?.logits(&end.stream)
    }

    /// Next-token loss `[n]` in nats, at rows `[n, d_model]` of the residual before the final norm, for labels `[n]`. NaN
    /// where a label is -1.
    pub fn losses(&self, rows: &Tensor, labels: &[i64]) -> Result<Vec<f32>, ModelError> {
        self.head()?.losses(rows, labels)
    }

    /// Loss, logsumexp, entropy and the `top_k` largest logits at rows `[n, d_model]` of the residual before the final norm.
    /// The loss is NaN where a label is -1.
    pub fn predictions(&self, rows: &Tensor, labels: &[i64], top_k: usize) -> Result<Predictions, ModelError> {
        self.head()?.predictions(rows, labels, top_k)
    }

    /// As `predictions`; also appends the logits, `[n, vocab]` little-endian words in the decoder's precision, to `logits`.
    pub fn predictions_and_logits(
        &self,
        rows: &Tensor,
        labels: &[i64],
        top_k: usize,
        logits: &mut Vec<u8>,
    ) -> Result<Predictions, ModelError> {
        self.head()?.predictions_and_logits(rows, labels, top_k, logits)
    }

    /// Losses of changed runs, and divergences of their predictions from those of the clean run, at the same rows:
    /// `[n, d_model]` of the residual before the final norm of each changed run, for labels `[n]`.
    ///
    /// On a CPU this is one pass over tiles of the vocabulary; the clean run's logits of a tile are computed once for all
    /// changed runs. Losses have the bits of [`losses`](Self::losses).
    pub fn divergences(
        &self,
        untouched: CleanRun<'_>,
        changed: &[Tensor],
        labels: &[i64],
    ) -> Result<Vec<Divergences>, ModelError> {
        self.head()?.divergences(untouched, changed, labels)
    }

    /// For each direction of the residual, `[n, d_model]`, the `count` tokens whose logits it raises most and those that it
    /// lowers most: (γ ⊙ d) · `W_U`, with the weight γ of the final norm, in float32; in models with `LayerNorm`, d without its
    /// mean. This is the change of the logits for a unit of d, times the size that the norm divides by. Bias and soft cap of
    /// the logits are not in it. `told` is given the number of directions that are done, as they are.
    pub fn logit_effects(
        &self,
        directions: &Tensor,
        count: usize,
        told: impl FnMut(u64),
    ) -> Result<Vec<LogitEffects>, ModelError> {
        let (expected, got) = (self.spec.d_model as i64, directions.size());
        if got.len() != 2 || got[1] != expected {
            let problem = format!("directions: expected [n, {expected}], got {got:?}");
            return Err(ModelError::Input { problem });
        }
        self.head()?.effects(directions, count, told)
    }

    /// Floating-point operations in the matrix products of [`advance`](Self::advance) over `blocks` blocks, for `sequences`
    /// of `length` columns each. Attention counts only visible keys.
    pub fn advance_operations(&self, sequences: usize, length: usize, blocks: usize) -> u64 {
        let spec = &self.spec;
        let AttentionSpec { n_heads, n_kv_heads, head_dim, .. } = spec.attention;
        let projections = spec.d_model * head_dim * 2 * (n_heads + n_kv_heads);
        let matrices = if spec.mlp.gate == MlpGate::Gated { 3 } else { 2 };
        let feed_forward = matrices * spec.d_model * spec.mlp.d_mlp;
        let attention = n_heads * head_dim * (length + 1); // two products, each over half of the keys
        2 * (sequences * length * blocks * (projections + feed_forward + attention)) as u64
    }

    /// Floating-point operations in the matrix products of [`losses`](Self::losses) or [`predictions`](Self::predictions) at
    /// `rows` rows.
    pub fn head_operations(&self, rows: usize) -> u64 {
        2 * (rows * self.spec.d_model * self.spec.vocab_size) as u64
    }

    /// The angles of each rotary embedding.
    fn angles(&self, positions: Positions<'_>) -> Result<Vec<Angles>, ModelError> {
        self.rotaries.iter().map(|rotary| rotary.angles(positions, self.precision)).collect()
    }

    fn head(&self) -> Result<&Head, ModelError> {
        self.head.as_ref().ok_or_else(|| self.not_loaded("the unembedding"))
    }

    fn check_end(&self, end: &Residual) -> Result<(), ModelError> {
        if end.block == self.spec.n_blocks {
            return Ok(());
        }
        let problem = format!("logits are read after block {}, the residual is at {}", self.spec.n_blocks, end.block);
        Err(ModelError::Input { problem })
    }

    fn check_length(&self, length: i64) -> Result<(), ModelError> {
        if length <= self.spec.context_length as i64 {
            return Ok(());
        }
        let problem = format!(
            "sequence of {length} tokens: expected at most {} (max_position_embeddings). Cut the text shorter",
            self.spec.context_length
        );
        Err(ModelError::Input { problem })
    }

    fn not_loaded(&self, asked: &str) -> ModelError {
        let blocks = self.first_block..self.first_block + self.blocks.len();
        let with = |part, name| if part { name } else { "" };
        let loaded = format!(
            "blocks {blocks:?}{}{}",
            with(self.embedding.is_some(), ", embedding"),
            with(self.head.is_some(), ", unembedding")
        );
        ModelError::NotLoaded { asked: asked.to_owned(), loaded }
    }
}

/// The angles of a block with a rotary embedding.
fn angles_of<'angles>(angles: &'angles [Angles], block: &Block) -> Option<&'angles Angles> {
    angles.get(block.rope?)
}

/// Loads tensors to one device in one precision.
struct Weights<'checkpoint> {
    files: &'checkpoint WeightFiles,
    precision: Dtype,
    device: Device,
}

impl Weights<'_> {
    fn load(&self, name: &str) -> Result<SharedTensor, ModelError> {
        Ok(load(self.files, name, self.precision, self.device)?.into())
    }

    /// Loads a piece of a tensor.
    fn load_piece(&self, stored: &Stored) -> Result<SharedTensor, ModelError> {
        Ok(piece(stored.cut, load(self.files, &stored.name, self.precision, self.device)?)?.into())
    }

    /// Loads the learned positions, `[context_length, d_model]`, without the rows before that of position 0.
    fn load_positions(&self, spec: &DecoderSpec, offset: usize) -> Result<SharedTensor, ModelError> {
        let stored = self.load(tensor_names::positions(spec.layout))?;
        Ok(stored.f_narrow(0, offset as i64, spec.context_length as i64)?.into())
    }

    /// Loads a weight of a norm that is applied in float32, regardless of the activations' type.
    fn load_f32(&self, name: &str) -> Result<Tensor, ModelError> {
        // Via the model's precision, for the same rounding as in a model held in it.
        Ok(self.load(name)?.f_to_kind(Kind::Float)?)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_may_share_a_decoder() {
        fn is_shareable<T: Send + Sync>() {}
        is_shareable::<super::Decoder>();
    }
}
