//! What an SAE's files say of it, whatever format they are in.

use super::Normalisation;

/// Facts of a configuration; nothing in it remains to be checked but the weights.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sae) struct SaeConfig {
    pub(in crate::sae) architecture: Architecture,
    pub(in crate::sae) role: Role,
    /// Width of what it is given.
    pub(in crate::sae) d_in: usize,
    /// Width of what it gives.
    pub(in crate::sae) d_out: usize,
    /// Number of latents.
    pub(in crate::sae) d_sae: usize,
    pub(in crate::sae) input_bias: InputBias,
    pub(in crate::sae) normalisation: Normalisation,
    pub(in crate::sae) site: Option<String>,
    /// Of a transcoder.
    pub(in crate::sae) output_site: Option<String>,
    pub(in crate::sae) model_name: Option<String>,
    pub(in crate::sae) conventions: Conventions,
}

/// What an SAE gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sae) enum Role {
    /// What it is given.
    Autoencoder,
    /// What another place in the model has.
    Transcoder(Skip),
}

/// Whether a transcoder's input goes past its latents too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sae) enum Skip {
    /// It does not.
    None,
    /// Through a matrix.
    Matrix,
}

/// What an SAE's files say of how the activations that it was trained on were made. What they do not say is not guessed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conventions {
    /// The model's writing weights were centred.
    pub center_writing_weights: bool,
    /// Sequences began with BOS.
    pub prepend_bos: Option<bool>,
}

/// The architectures, training checkpoints included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::sae) enum Architecture {
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
pub(crate) enum Ranking {
    /// Their pre-activations.
    PreActivation,
    /// Their pre-activations times the norms of their decoder rows (`rescale_acts_by_decoder_norm`).
    DecoderNorm,
}

/// Whether the decoder's bias is taken from the input (`apply_b_dec_to_input`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputBias {
    DecoderBias,
    None,
}

impl SaeConfig {
    /// The architecture and the role, by SAELens's name where it has one.
    pub(in crate::sae) fn kind(&self) -> &'static str {
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
    pub(in crate::sae) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::TopK { .. } => "topk",
            Self::JumpRelu => "jumprelu",
            Self::Gated => "gated",
            Self::BatchTopK { name, .. } => name,
        }
    }
}
