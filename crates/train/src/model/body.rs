//! Parts common to all architectures: input, decoder and reconstruction loss.

use hayloft_sae::{InputBias, Normalisation, Undo};
use tch::{Kind, Reduction, TchError, Tensor};

/// Encoder, decoder and decoder bias.
#[derive(Debug)]
pub(crate) struct Body {
    /// `[d_model, width]`.
    pub(crate) encoder: Tensor,
    /// `[width, d_model]`.
    pub(crate) decoder: Tensor,
    /// `[d_model]`.
    pub(crate) decoder_bias: Tensor,
    pub(crate) input_bias: InputBias,
    pub(crate) normalisation: Normalisation,
}

impl Body {
    pub(super) fn parameters(&self) -> [(&'static str, &Tensor); 3] {
        [("W_enc", &self.encoder), ("W_dec", &self.decoder), ("b_dec", &self.decoder_bias)]
    }

    pub(super) fn width(&self) -> usize {
        self.encoder.size()[1] as usize
    }

    /// Returns the encoder's input `[rows, d_model]` and the inverse normalisation.
    pub(super) fn encoder_input(&self, x: &Tensor) -> Result<(Tensor, Undo), TchError> {
        let (normed, undo) = self.normalisation.apply(x)?;
        match self.input_bias {
            InputBias::DecoderBias => Ok((normed.f_sub(&self.decoder_bias)?, undo)),
            InputBias::None => Ok((normed, undo)),
        }
    }

    /// Decodes latents `[rows, width]` to `[rows, d_model]` with the given decoder.
    pub(super) fn decode(&self, latents: &Tensor, decoder: &Tensor, undo: &Undo) -> Result<Tensor, TchError> {
        undo.apply(self.decoder_bias.f_addmm(latents, decoder)?)
    }

    /// `[width]`: the norm of each decoder row.
    pub(super) fn decoder_norms(&self) -> Result<Tensor, TchError> {
        self.decoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)
    }
}

/// Mean over rows of Σ (a − b)².
pub(super) fn squared_error(left: &Tensor, right: &Tensor) -> Result<Tensor, TchError> {
    let d_model = *right.size().last().unwrap_or(&0) as f64;
    left.f_mse_loss(right, Reduction::Mean)?.f_mul_scalar(d_model)
}

/// Mean over rows of Σ latents × weights; `[rows, width]` and `[width]` to a scalar.
pub(super) fn weighted_sum(latents: &Tensor, weights: &Tensor) -> Result<Tensor, TchError> {
    latents.f_mean_dim([0i64].as_slice(), false, Kind::Float)?.f_dot(weights)
}
