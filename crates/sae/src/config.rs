//! What an SAE's files say of it, whatever format they are in.

use std::fmt;

use crate::normalisation::Normalisation;

/// Facts of a configuration; nothing in it remains to be checked but the weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SaeConfig {
    pub(crate) architecture: Architecture,
    pub(crate) role: Role,
    /// Width of what it is given.
    pub(crate) d_in: usize,
    /// Width of what it gives.
    pub(crate) d_out: usize,
    /// Number of latents.
    pub(crate) d_sae: usize,
    pub(crate) input_bias: InputBias,
    pub(crate) normalisation: Normalisation,
    pub(crate) site: Option<String>,
    /// Of a transcoder.
    pub(crate) output_site: Option<String>,
    pub(crate) model_name: Option<String>,
    pub(crate) conventions: Conventions,
}

/// What an SAE gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What it is given.
    Autoencoder,
    /// What another place in the model has.
    Transcoder(Skip),
}

/// Whether a transcoder's input goes past its latents too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// It does not.
    None,
    /// Through a matrix.
    Matrix,
}

/// What an SAE's files say of how the activations that it was trained on were made. What they do not say is not guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conventions {
    /// The model's writing weights were centred.
    pub center_writing_weights: bool,
    /// Sequences began with BOS.
    pub prepend_bos: Option<bool>,
    /// Tokens of a sequence.
    pub context_size: Option<u64>,
    /// The positions of a sequence that were trained on.
    pub positions: PositionSlice,
    /// The tokens whose activations were not trained on.
    pub without: WithoutTokens,
}

/// Positions of a sequence, as Python slices a list: what is absent is its beginning, its end and a step of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PositionSlice {
    /// The first, from the end where it is negative.
    pub start: Option<i64>,
    /// The one after the last, from the end where it is negative.
    pub stop: Option<i64>,
    /// Every so many.
    pub step: Option<i64>,
}

/// Tokens whose activations an SAE was not trained on, though they were there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WithoutTokens {
    /// It was trained on all, as far as its files say.
    #[default]
    None,
    /// BOS.
    Bos,
    /// Every special token of the tokenizer.
    Special,
    /// The tokens of these ids.
    Ids(Vec<u32>),
}

impl PositionSlice {
    /// Whether it takes every position of a sequence of `length` tokens.
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

/// The architectures, training checkpoints included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Architecture {
    Standard,
    TopK {
        k: usize,
        ranking: Ranking,
    },
    JumpRelu,
    Gated,
    /// A training checkpoint of `BatchTopK` or its Matryoshka form, with one threshold for all latents. What SAELens
    /// exports of it is a `JumpReLU`.
    BatchTopK {
        name: &'static str,
        /// Latents a row on average, where the file says so; only training needs it.
        k: Option<f64>,
        ranking: Ranking,
    },
}

/// What latents are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// Their pre-activations.
    PreActivation,
    /// Their pre-activations times the norms of their decoder rows (`rescale_acts_by_decoder_norm`).
    DecoderNorm,
}

/// Whether the decoder's bias is taken from the input (`apply_b_dec_to_input`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputBias {
    /// It is.
    DecoderBias,
    /// It is not.
    None,
}

impl SaeConfig {
    /// The architecture and the role, by SAELens's name where it has one.
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
    /// By SAELens's name.
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
