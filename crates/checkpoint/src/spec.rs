//! The architecture of a decoder. The forward pass reads these facts and never the family.

/// Architecture of a decoder-only model.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// Family name as in `config.json`, for records and messages only.
    pub model_type: String,
    /// Rows of the embedding and width of the logits.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Maximum sequence length (`max_position_embeddings`).
    pub context_length: usize,
    /// Factor of the embeddings. Rounded to the activations' type first, as in Gemma's training.
    pub embedding_scale: Option<f64>,
    /// Structure of a block.
    pub block: BlockSpec,
    /// Attention. Blocks differ only in window and rotary embedding.
    pub attention: AttentionSpec,
    /// The window of each block: how many keys a query sees, itself included. `None` means all preceding ones.
    pub windows: Vec<Option<usize>>,
    /// Position encoding.
    pub positions: PositionSpec,
    /// The feed-forward part.
    pub mlp: MlpSpec,
    /// All norms of the model.
    pub norm: NormSpec,
    /// Whether the unembedding shares the embedding matrix.
    pub head: HeadWeights,
    /// Whether the unembedding has a bias (GPT-J).
    pub head_bias: bool,
    /// c of the soft cap on logits: l becomes c · tanh(l / c).
    pub logit_soft_cap: Option<f64>,
    /// Names and layout of the tensors.
    pub layout: WeightLayout,
}

/// Structure of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSpec {
    /// Placement of the norms.
    pub norms: NormPlacement,
    /// Input of the feed-forward part.
    pub residuals: Residuals,
}

impl BlockSpec {
    /// `x += attention(norm(x)); x += mlp(norm(x))`.
    pub const PRE_NORM: Self = Self { norms: NormPlacement::Before, residuals: Residuals::Sequential };
}

/// Placement of the norms of attention and feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before each (Llama).
    Before,
    /// Before and after each (Gemma 2).
    Around,
    /// After each (`OLMo` 2).
    Behind,
}

/// Input of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residuals {
    /// The residual stream after attention.
    Sequential,
    /// The input of attention; both outputs are added together (GPT-NeoX).
    Parallel,
}

/// Shapes and scale of self-attention.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads, a divisor of `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head. `n_heads * head_dim` may differ from `d_model`.
    pub head_dim: usize,
    /// Factor of the scores before the softmax.
    pub scale: f64,
    /// Which projections have a bias.
    pub bias: AttentionBias,
    /// Norms of queries and keys before rotation.
    pub query_key_norm: QueryKeyNorm,
    /// c of the soft cap on scaled scores: s becomes c · tanh(s / c).
    pub soft_cap: Option<f64>,
}

/// Which projections of attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionBias {
    /// None of them.
    None,
    /// Query, key and value.
    Inputs,
    /// Output.
    Output,
    /// Query, key, value and output.
    All,
}

/// Norms of queries and keys before rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// None.
    None,
    /// Per head, with one weight for all heads (Qwen3).
    EachHead,
    /// Over all heads together (`OLMo` 2).
    AllHeads,
}

/// Position encoding.
#[derive(Debug, Clone, PartialEq)]
pub enum PositionSpec {
    /// Rotary embedding of queries and keys.
    Rotary {
        /// The distinct rotary embeddings of the model.
        ropes: Vec<RopeSpec>,
        /// Index into `ropes` for each block.
        of_block: Vec<usize>,
    },
    /// A learned vector per position, added to the embedding (GPT-2).
    Learned {
        /// Row of the matrix for position 0; rows before it are not used (OPT).
        offset: usize,
    },
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
    /// Number of leading elements of a head that are rotated. Even.
    pub dimensions: usize,
    /// Which elements are rotated together.
    pub pairs: RopePairs,
    /// Scaling of the frequencies for long contexts.
    pub scaling: RopeScaling,
}

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Element i with element `i + dimensions/2`.
    Halves,
    /// Element 2i with element 2i + 1 (GPT-J).
    Adjacent,
}

/// Scaling of rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// None.
    None,
    /// Divides every frequency by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The rule of Llama 3.1: long wavelengths are divided by `factor`, short ones kept, with a linear blend between.
    Llama3 {
        /// The divisor of the long wavelengths.
        factor: f64,
        /// Wavelengths above `original_context / low_frequency_factor` are long.
        low_frequency_factor: f64,
        /// Wavelengths below `original_context / high_frequency_factor` are short.
        high_frequency_factor: f64,
        /// Context length of the original training.
        original_context: f64,
    },
    /// `YaRN` (Peng et al. 2023): frequencies that turn `slow` times or less within the original context are divided by
    /// `factor`, those that turn `fast` times or more are kept, with a linear blend over the dimensions between.
    Yarn {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Turns from which on a frequency is kept (`beta_fast`).
        fast: f64,
        /// Turns up to which a frequency is divided (`beta_slow`).
        slow: f64,
        /// Context length of the original training.
        original_context: f64,
        /// Whether the ends of the blend are rounded to whole dimensions.
        truncate: bool,
        /// Factor of cosines and sines.
        attention_factor: f64,
    },
    /// `LongRoPE` (Ding et al. 2024), for sequences within the original context: a divisor for each frequency.
    LongRope {
        /// `[dimensions / 2]`: the divisors (`short_factor`).
        factors: Vec<f64>,
        /// Factor of cosines and sines.
        attention_factor: f64,
        /// The longest sequence with these divisors. transformers uses others at every position of a longer one.
        longest: usize,
    },
}

impl RopeScaling {
    /// Factor of cosines and sines.
    pub fn attention_factor(&self) -> f64 {
        match self {
            Self::Yarn { attention_factor, .. } | Self::LongRope { attention_factor, .. } => *attention_factor,
            Self::None | Self::Linear { .. } | Self::Llama3 { .. } => 1.0,
        }
    }
}

/// The feed-forward part.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSpec {
    /// Width of the hidden layer.
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
    /// Kind of norm.
    pub kind: NormKind,
    /// Added to the mean square or the variance.
    pub epsilon: f64,
    /// How the weight is applied.
    pub weight: NormWeight,
}

/// Kind of norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + epsilon)`.
    RootMeanSquare,
    /// `(x - mean(x)) / sqrt(variance(x) + epsilon)`, times the weight, plus a bias.
    Layer,
}

/// How a norm's weight is applied. The difference shows in bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormWeight {
    /// Rounds the normalised value to the activations' type, then multiplies by the weight (Llama).
    Plain,
    /// Multiplies the normalised value by the weight in float32, then rounds (`OLMo` 2, and every `LayerNorm`).
    Wide,
    /// Multiplies the normalised value by one plus the weight in float32, then rounds (Gemma).
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

/// Names and layout of a checkpoint's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// `model.layers.N.self_attn.q_proj`: one tensor per projection.
    Llama,
    /// As `Llama`, with fused query, key and value, and fused gate and up.
    Phi3,
    /// `transformer.h.N.attn.c_attn`: fused query, key and value; matrices are `[in, out]`.
    Gpt2,
    /// `transformer.h.N.attn.attention.q_proj`.
    GptNeo,
    /// `transformer.h.N.attn.q_proj`, with one norm for attention and feed-forward.
    GptJ,
    /// `gpt_neox.layers.N.attention.query_key_value`: query, key and value fused per head.
    GptNeoX,
    /// `model.layers.N.self_attn.dense`, with one norm for attention and feed-forward.
    Phi,
    /// `model.decoder.layers.N.self_attn.out_proj`.
    Opt,
    /// As `Llama`, below `language_model`, beside an image encoder that is not read.
    Gemma3Multimodal,
}

impl DecoderSpec {
    /// The rotary embedding of a block, if any, with its index.
    pub fn rope(&self, block: usize) -> Option<(usize, &RopeSpec)> {
        match &self.positions {
            PositionSpec::Rotary { ropes, of_block } => {
                let place = *of_block.get(block)?;
                ropes.get(place).map(|rope| (place, rope))
            }
            PositionSpec::Learned { .. } => None,
        }
    }

    /// The distinct rotary embeddings of the model.
    pub fn ropes(&self) -> &[RopeSpec] {
        match &self.positions {
            PositionSpec::Rotary { ropes, .. } => ropes,
            PositionSpec::Learned { .. } => &[],
        }
    }
}
