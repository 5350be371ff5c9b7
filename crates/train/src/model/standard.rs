//! The standard SAE: `ReLU` with an L1 penalty on latents times decoder norms.

use tch::{TchError, Tensor};

use super::body::{Body, squared_error, weighted_sum};
use super::export::{Exported, Fold};
use super::{Forward, Input, Model};

/// Sparsity loss: coefficient × mean over rows of Σ latentⱼ ‖decoder rowⱼ‖.
#[derive(Debug)]
pub(super) struct Standard {
    pub(super) body: Body,
    /// `[width]`.
    pub(super) bias: Tensor,
}

impl Model for Standard {
    fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        [self.body.parameters().as_slice(), &[("b_enc", &self.bias)]].concat()
    }

    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError> {
        let (seen, undo) = self.body.encoder_input(input.x)?;
        let latents = self.bias.f_addmm(&seen, &self.body.encoder)?.f_relu()?;
        let reconstruction = self.body.decode(&latents, &self.body.decoder, &undo)?;
        let l1 = weighted_sum(&latents, &self.body.decoder_norms()?)?;
        Ok(Forward {
            reconstruction_loss: squared_error(&reconstruction, input.x)?,
            sparsity_loss: Some(l1.f_mul_scalar(input.coefficient)?),
            auxiliary_loss: None,
            reconstruction,
            latents,
        })
    }

    fn export(&self, fold: Fold) -> Result<Exported, TchError> {
        let mut exported = Exported::of("standard", &self.body, fold)?;
        exported.add("b_enc", &self.bias)?;
        Ok(exported)
    }

    fn width(&self) -> usize {
        self.body.width()
    }
}
