//! Sparse autoencoders: one form in memory, whatever file they came from, and one forward pass.

mod activation;
mod error;
mod forward;
mod normalisation;
mod saelens;
mod weights;

use std::path::Path;

use tch::{Device, Tensor};

pub use self::activation::Activation;
pub use self::error::SaeError;
pub use self::forward::{Chunk, Encoded, Reconstruction};
pub use self::normalisation::Normalisation;
pub(crate) use self::normalisation::Undo;
pub(crate) use self::saelens::{InputBias, Own, Parts, Ranking};
pub use self::saelens::{SaeFile, SaeFileHash};

/// A sparse autoencoder on a device, in float32.
///
/// ```text
/// x [rows, d_model] ── normalise ── − input bias ── · encoder + bias ── activation ── latents [rows, width]
/// latents ── · decoder + bias ── undo the normalisation ── reconstruction [rows, d_model]
/// ```
///
/// Loaders fold whatever their format adds (decoder norms, a gate's own bias) into these few tensors.
#[derive(Debug)]
pub struct Sae {
    /// `[d_model, width]`.
    pub(crate) encoder: Tensor,
    /// `[width]`.
    pub(crate) encoder_bias: Tensor,
    /// `[width, d_model]`.
    pub(crate) decoder: Tensor,
    /// `[d_model]`.
    pub(crate) decoder_bias: Tensor,
    /// `[d_model]`: subtracted from the normalised input, where there is one.
    pub(crate) input_bias: Option<Tensor>,
    pub(crate) activation: Activation,
    pub(crate) normalisation: Normalisation,
}

impl Sae {
    /// Reads an SAE in SAELens's native layout: `cfg.json` and `sae_weights.safetensors`.
    ///
    /// ```no_run
    /// use hayloft_evaluate::Sae;
    /// # fn main() -> Result<(), hayloft_evaluate::SaeError> {
    /// let sae = Sae::open(std::path::Path::new("saes/blocks.9"), tch::Device::Cpu)?;
    /// let x = tch::Tensor::randn([8, sae.d_model() as i64], (tch::Kind::Float, tch::Device::Cpu));
    /// let reconstruction = sae.reconstruct(&x)?;
    /// # Ok(()) }
    /// ```
    pub fn open(folder: &Path, device: Device) -> Result<Self, SaeError> {
        SaeFile::open(folder)?.load(device)
    }

    /// Width of the activations that it takes.
    pub fn d_model(&self) -> usize {
        self.encoder.size()[0] as usize
    }

    /// Number of latents.
    pub fn width(&self) -> usize {
        self.encoder.size()[1] as usize
    }

    /// What is done to the input before the encoder.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }
}
