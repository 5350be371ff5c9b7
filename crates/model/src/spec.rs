//! What a decoder computes, as resolved facts. Forward code reads these and never asks which family it runs.

/// A decoder-only model.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// Family name as in `config.json`, for records and messages only.
    pub model_type: String,
    /// Rows of the embedding, and columns of the logits.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_blocks: usize,
    /// The longest sequence that the model was made for (`max_position_embeddings`).
    pub context_length: usize,
    /// What embeddings are multiplied by. It is rounded to the activations' number type first, as Gemma was trained.
    pub embedding_scale: Option<f64>,
    /// How a block is put together.
    pub block: BlockSpec,
    /// Attention, the same in every block but for its window and its rotary embedding.
    pub attention: AttentionSpec,
    /// For each block how many keys a query sees, itself included; `None` means all before it.
    pub windows: Vec<Option<usize>>,
    /// How the model knows positions.
    pub positions: PositionSpec,
    /// The feed-forward part.
    pub mlp: MlpSpec,
    /// All norms of the model.
    pub norm: NormSpec,
    /// Whether the unembedding is the embedding matrix or one of its own.
    pub head: HeadWeights,
    /// Logits l become c · tanh(l / c).
    pub logit_soft_cap: Option<f64>,
    /// What the tensors are called, and how they are cut.
    pub layout: WeightLayout,
}

/// How a block is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSpec {
    /// Where attention and feed-forward have their norms.
    pub norms: NormPlacement,
    /// What the feed-forward part reads.
    pub residuals: Residuals,
}

impl BlockSpec {
    /// `x += attention(norm(x)); x += mlp(norm(x))`.
    pub const PRE_NORM: Self = Self { norms: NormPlacement::Before, residuals: Residuals::Sequential };
}

/// Where attention and feed-forward have their norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before each (Llama).
    Before,
    /// Before and behind each (Gemma 2).
    Around,
    /// Behind each (`OLMo` 2).
    Behind,
}

/// What the feed-forward part reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residuals {
    /// The residual stream with what attention added to it.
    Sequential,
    /// What attention reads too; both are then added at once (GPT-NeoX).
    Parallel,
}

/// Shapes and scale of self-attention.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; a divisor of `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head; `n_heads * head_dim` need not be `d_model`.
    pub head_dim: usize,
    /// What scores are multiplied by before the softmax.
    pub scale: f64,
    /// Which of the projections have a bias.
    pub bias: AttentionBias,
    /// Whether queries and keys are normed before they are turned.
    pub query_key_norm: QueryKeyNorm,
    /// Scores s, scaled, become c · tanh(s / c).
    pub soft_cap: Option<f64>,
}

/// Which projections of the attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionBias {
    /// None of them.
    None,
    /// Query, key and value.
    Inputs,
    /// Query, key, value and output.
    All,
}

/// Whether queries and keys are normed before they are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// They are not.
    None,
    /// Each head by itself, with one weight for all heads (Qwen3).
    EachHead,
    /// All heads side by side (`OLMo` 2).
    AllHeads,
}

/// How the model knows positions.
#[derive(Debug, Clone, PartialEq)]
pub enum PositionSpec {
    /// Queries and keys are turned.
    Rotary {
        /// The rotary embeddings that blocks may have.
        ropes: Vec<RopeSpec>,
        /// For each block, which of them.
        of_block: Vec<usize>,
    },
    /// A vector for each position is added to the embedding (GPT-2).
    Learned,
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
    /// How many elements of a head are turned, the first ones; even.
    pub dimensions: usize,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// A rule that stretches rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// As trained.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1's rule: long wavelengths divided by `factor`, short ones kept, a linear blend between.
    Llama3 {
        /// The divisor of the long wavelengths.
        factor: f64,
        /// Wavelengths above `original_context / low_frequency_factor` are long.
        low_frequency_factor: f64,
        /// Wavelengths below `original_context / high_frequency_factor` are short.
        high_frequency_factor: f64,
        /// The context of the first training.
        original_context: f64,
    },
}

/// The feed-forward part.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSpec {
    /// Width of what meets the activation.
    pub d_mlp: usize,
    /// The activation.
    pub activation: Activation,
    /// Whether there is a gate.
    pub gate: MlpGate,
    /// Whether the projections have biases.
    pub bias: MlpBias,
}

/// Whether the feed-forward part has a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpGate {
    /// `down(activation(gate(x)) * up(x))`.
    Gated,
    /// `down(activation(up(x)))`.
    Plain,
}

/// Whether the projections of the feed-forward part have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpBias {
    /// None of them.
    None,
    /// All of them.
    All,
}

/// Activation function of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// x · Φ(x).
    Gelu,
    /// The tanh approximation of [`Gelu`](Self::Gelu).
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// A norm, computed in float32, times a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    /// What it does.
    pub kind: NormKind,
    /// Added to the mean square, or to the variance.
    pub epsilon: f64,
    /// How the weight is applied.
    pub weight: NormWeight,
}

/// What a norm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + epsilon)`.
    RootMeanSquare,
    /// `(x - mean(x)) / sqrt(variance(x) + epsilon)`, times the weight, plus a bias.
    Layer,
}

/// How a norm's weight is applied; the difference shows in bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormWeight {
    /// The normalised value is rounded to the activations' type, then multiplied by the weight (Llama).
    Plain,
    /// The normalised value is multiplied by the weight in float32, then rounded (`OLMo` 2, and every `LayerNorm`).
    Wide,
    /// The normalised value is multiplied by one plus the weight in float32, then rounded (Gemma).
    OnePlus,
}

/// Where the unembedding comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadWeights {
    /// `lm_head.weight`.
    Own,
    /// The embedding matrix.
    Tied,
}

/// What the tensors of a checkpoint are called, and how they are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// `model.layers.N.self_attn.q_proj`: a tensor for each projection.
    Llama,
    /// The same, with query, key and value in one tensor, and gate and up in another.
    Phi3,
    /// `transformer.h.N.attn.c_attn`: query, key and value in one tensor; matrices are `[in, out]`.
    Gpt2,
    /// `gpt_neox.layers.N.attention.query_key_value`: query, key and value of each head side by side.
    GptNeoX,
}

impl DecoderSpec {
    /// The rotary embedding of a block, if it has one: which of the model's, and what it is.
    pub(crate) fn rope(&self, block: usize) -> Option<(usize, &RopeSpec)> {
        match &self.positions {
            PositionSpec::Rotary { ropes, of_block } => {
                let place = *of_block.get(block)?;
                ropes.get(place).map(|rope| (place, rope))
            }
            PositionSpec::Learned => None,
        }
    }

    /// The model's rotary embeddings.
    pub(crate) fn ropes(&self) -> &[RopeSpec] {
        match &self.positions {
            PositionSpec::Rotary { ropes, .. } => ropes,
            PositionSpec::Learned => &[],
        }
    }
}
