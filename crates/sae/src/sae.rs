//! Sparse autoencoders: one form in memory, whatever file they came from, and one forward pass.

use std::path::Path;

use hayloft_model::kind;
use hayloft_runtime::Dtype;
use tch::Device;

use crate::error::SaeError;
use crate::file::SaeFile;
use crate::forward::activation::Activation;
use crate::forward::screen::Screen;
use crate::forward::shared_tensor::SharedTensor;
use crate::normalisation::Normalisation;

/// A sparse autoencoder on a device, in float32. Any number of threads may share one.
///
/// ```text
/// x [rows, d_in] ── normalise ── − input bias ── · encoder + bias ── activation ── latents [rows, width]
/// latents ── · decoder + bias ── undo the normalisation ── + x · skip ── reconstruction [rows, d_out]
/// ```
///
/// Loaders fold whatever their format adds (decoder norms, a gate's own bias) into these few tensors.
#[derive(Debug)]
pub struct Sae {
    /// `[width, d_in]`: float32, or the type that products with it are to be computed in.
    pub(crate) encoder: SharedTensor,
    /// `[width]`.
    pub(crate) encoder_bias: SharedTensor,
    /// `[width, d_out]`.
    pub(crate) decoder: SharedTensor,
    /// `[d_out]`.
    pub(crate) decoder_bias: SharedTensor,
    /// `[d_out, d_in]`: what a transcoder's input adds to its output past the latents, where it does.
    pub(crate) skip: Option<SharedTensor>,
    /// `[d_in]`: subtracted from the normalised input, where there is one.
    pub(crate) input_bias: Option<SharedTensor>,
    pub(crate) activation: Activation,
    pub(crate) normalisation: Normalisation,
    /// Finds out which latents may fire; where there is none, all are computed.
    pub(crate) screen: Option<Screen>,
}

impl Sae {
    /// Reads an SAE of any format that [`SaeFormat`](crate::SaeFormat) knows, told from its files.
    ///
    /// ```no_run
    /// use hayloft_sae::Sae;
    /// # fn main() -> Result<(), hayloft_sae::SaeError> {
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
        self.encoder.size()[1] as usize
    }

    /// Width of its reconstructions: that of what it takes, but for transcoders.
    pub fn d_out(&self) -> usize {
        self.decoder.size()[1] as usize
    }

    /// Number of latents.
    pub fn width(&self) -> usize {
        self.encoder.size()[0] as usize
    }

    /// The same SAE with the encoder's products computed in a precision. Latents, sums and the decoder stay float32. In
    /// float32, latents that cannot fire may be ruled out in bf16 first.
    pub fn computing_in(mut self, precision: Dtype) -> Result<Self, SaeError> {
        if precision == Dtype::F32 {
            self.screen = Screen::new(&self)?;
        } else {
            self.encoder = self.encoder.f_to_kind(kind(precision))?.into();
        }
        Ok(self)
    }

    /// What is done to the input before the encoder.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }
}
