//! The configuration of an SAE, in a form common to all formats.

use std::fmt;

use crate::normalisation::Normalisation;

/// A parsed and validated configuration. Only the weights remain to be checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SaeConfig {
    pub(crate) architecture: Architecture,
    pub(crate) role: Role,
    /// Width of the input.
    pub(crate) d_in: usize,
    /// Width of the output.
    pub(crate) d_out: usize,
    /// Number of latents.
    pub(crate) d_sae: usize,
    pub(crate) input_bias: InputBias,
    pub(crate) normalisation: Normalisation,
    pub(crate) site: Option<String>,
    /// The output site of a transcoder.
    pub(crate) output_site: Option<String>,
    pub(crate) model_name: Option<String>,
    pub(crate) conventions: Conventions,
    /// What a user should know of how the files are read.
    pub(crate) remarks: Vec<String>,
}

/// What an SAE reconstructs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its input.
    Autoencoder,
    /// The activations of another site.
    Transcoder(Skip),
}

/// A transcoder's skip connection from input to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// No skip connection.
    None,
    /// A linear skip connection.
    Matrix,
}

/// How the training activations of an SAE were produced, as far as its files say. Missing values are not guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conventions {
    /// The model's writing weights were centred.
    pub center_writing_weights: bool,
    /// Sequences began with BOS.
    pub prepend_bos: Option<bool>,
    /// Context length in tokens.
    pub context_size: Option<u64>,
    /// The sequence positions used for training.
    pub positions: PositionSlice,
    /// The tokens excluded from training.
    pub without: WithoutTokens,
}

/// A slice of sequence positions with the semantics of a Python slice. Missing values default to the beginning, the end and a
/// step of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PositionSlice {
    /// The first position; negative values count from the end.
    pub start: Option<i64>,
    /// The position after the last; negative values count from the end.
    pub stop: Option<i64>,
    /// The step.
    pub step: Option<i64>,
}

/// Tokens that were in the training sequences but whose activations were excluded from training.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WithoutTokens {
    /// No tokens are excluded, as far as the files say.
    #[default]
    None,
    /// BOS.
    Bos,
    /// Every special token of the tokenizer.
    Special,
    /// The tokens with these ids.
    Ids(Vec<u32>),
}

impl PositionSlice {
    /// Whether the slice covers every position of a sequence of `length` tokens.
    pub fn is_all_of(self, length: u64) -> bool {
        let reaches_end = |stop: i64| u64::try_from(stop).is_ok_and(|stop| stop >= length);
        self.start.unwrap_or(0) == 0 && self.step.unwrap_or(1) == 1 && self.stop.is_none_or(reaches_end)
    }
}

impl fmt::Display for PositionSlice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        write!(formatter, "[{}:{}", number(self.start), number(self.stop))?;
        match self.step {
            Some(step) => write!(formatter, ":{step}]"),
            None => formatter.write_str("]"),
        }
    }
}

impl fmt::Display for WithoutTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("no tokens"),
            Self::Bos => formatter.write_str("BOS"),
            Self::Special => formatter.write_str("special tokens"),
            Self::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
                write!(formatter, "the special tokens {}", ids.join(", "))
            }
        }
    }
}

/// SAE architectures, including those of training checkpoints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Architecture {
    Standard,
    TopK {
        k: usize,
        ranking: Ranking,
    },
    JumpRelu,
    Gated,
    /// A training checkpoint of `BatchTopK` or Matryoshka `BatchTopK`, with one threshold for all latents. SAELens exports it
    /// as a `JumpReLU`.
    BatchTopK {
        name: &'static str,
        /// Mean number of active latents per row, if the file says so. Only training needs it.
        k: Option<f64>,
        ranking: Ranking,
    },
}

/// The quantity by which latents are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// The pre-activation.
    PreActivation,
    /// The pre-activation times the norm of the decoder row (`rescale_acts_by_decoder_norm`).
    DecoderNorm,
}

/// Whether the decoder bias is subtracted from the input (`apply_b_dec_to_input`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputBias {
    /// The decoder bias is subtracted.
    DecoderBias,
    /// Nothing is subtracted.
    None,
}

impl SaeConfig {
    /// An autoencoder that subtracts no bias, does not normalise and says nothing of its training. Formats state what differs.
    pub(crate) fn new(architecture: Architecture, d_in: usize, d_sae: usize) -> Self {
        Self {
            architecture,
            role: Role::Autoencoder,
            d_in,
            d_out: d_in,
            d_sae,
            input_bias: InputBias::None,
            normalisation: Normalisation::None,
            site: None,
            output_site: None,
            model_name: None,
            conventions: Conventions::default(),
            remarks: Vec::new(),
        }
    }

    /// The architecture and role, by SAELens's name where one exists.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.role, self.architecture) {
            (Role::Autoencoder, architecture) => architecture.as_str(),
            (Role::Transcoder(Skip::None), Architecture::Standard) => "transcoder",
            (Role::Transcoder(Skip::Matrix), Architecture::Standard) => "skip_transcoder",
            (Role::Transcoder(Skip::None), Architecture::JumpRelu) => "jumprelu_transcoder",
            (Role::Transcoder(Skip::Matrix), Architecture::JumpRelu) => "jumprelu_skip_transcoder",
            (Role::Transcoder(Skip::None), Architecture::TopK { .. }) => "topk_transcoder",
            (Role::Transcoder(Skip::Matrix), Architecture::TopK { .. }) => "topk_skip_transcoder",
            (Role::Transcoder(_), _) => "other_transcoder",
        }
    }
}

impl Architecture {
    /// SAELens's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::TopK { .. } => "topk",
            Self::JumpRelu => "jumprelu",
            Self::Gated => "gated",
            Self::BatchTopK { name, .. } => name,
        }
    }
}
