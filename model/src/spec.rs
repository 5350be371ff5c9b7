//! What a decoder computes, as resolved facts. Forward code reads these and never asks which family it runs.

/// A decoder-only model of pre-norm blocks: `x += attention(norm(x)); x += mlp(norm(x))`.
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
    /// Attention, the same in every block but for its window.
    pub attention: AttentionSpec,
    /// For each block how many keys a query sees, itself included; `None` means all before it.
    pub windows: Vec<Option<usize>>,
    /// Rotary position embedding.
    pub rope: RopeSpec,
    /// The gated feed-forward part.
    pub mlp: MlpSpec,
    /// All norms of the model.
    pub norm: NormSpec,
    /// Whether the unembedding is the embedding matrix or one of its own.
    pub head: HeadWeights,
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

/// Rotary position embedding over the whole head.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
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

/// The feed-forward part: `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSpec {
    /// Width of the gate.
    pub d_mlp: usize,
    /// The gate's activation.
    pub activation: Activation,
    /// Whether the three projections have biases.
    pub bias: MlpBias,
}

/// Whether the projections of the feed-forward part have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpBias {
    /// None of them.
    None,
    /// All three.
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
}

/// Root-mean-square norm: `x / sqrt(mean(x²) + epsilon)`, computed in float32, times a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    /// Added to the mean square.
    pub epsilon: f64,
    /// How the weight is applied.
    pub weight: NormWeight,
}

/// How a norm's weight is applied; the difference shows in bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormWeight {
    /// The normalised value is rounded to the activations' type, then multiplied by the weight (Llama).
    Plain,
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
