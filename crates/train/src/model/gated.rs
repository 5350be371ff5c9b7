//! Gated SAEs (Rajamanoharan et al. 2024): a gate decides which latents fire, a separate magnitude how strongly.

use tch::{Kind, TchError, Tensor};

use super::body::{Body, squared_error, weighted_sum};
use super::export::{Exported, Fold};
use super::{Forward, Input, Model};

/// A gated SAE. With g = seen · encoder, latents are \[g + gate bias > 0\] relu(g eʳ + magnitude bias).
///
/// The step has no gradient, so the gate is trained by two losses on π = relu(g + gate bias): L1 of π times the decoder
/// norms, and the reconstruction error of π. As in SAELens, the decoder also receives gradients from the latter.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) body: Body,
    /// `[width]`.
    pub(super) gate_bias: Tensor,
    /// `[width]`.
    pub(super) magnitude_bias: Tensor,
    /// `[width]`: r.
    pub(super) magnitude_log_scale: Tensor,
}

impl Model for Gated {
    fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        let own = [("b_gate", &self.gate_bias), ("b_mag", &self.magnitude_bias), ("r_mag", &self.magnitude_log_scale)];
        [self.body.parameters().as_slice(), &own].concat()
    }

    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError> {
        let (seen, undo) = self.body.encoder_input(input.x)?;
        let shared = seen.f_matmul(&self.body.encoder)?;
        let gate = shared.f_add(&self.gate_bias)?;
        let open = gate.f_gt(0.0)?.f_to_kind(Kind::Float)?;
        let magnitude = shared.f_mul(&self.magnitude_log_scale.f_exp()?)?.f_add(&self.magnitude_bias)?;
        let latents = magnitude.f_relu()?.f_mul(&open)?;
        let reconstruction = self.body.decode(&latents, &self.body.decoder, &undo)?;
        let gate = gate.f_relu()?;
        let l1 = weighted_sum(&gate, &self.body.decoder_norms()?)?;
        let by_gate = self.body.decode(&gate, &self.body.decoder, &undo)?;
        Ok(Forward {
            reconstruction_loss: squared_error(&reconstruction, input.x)?,
            sparsity_loss: Some(l1.f_mul_scalar(input.coefficient)?),
            auxiliary_loss: Some(squared_error(&by_gate, input.x)?),
            reconstruction,
            latents,
        })
    }

    fn export(&self, fold: Fold) -> Result<Exported, TchError> {
        let mut exported = Exported::of("gated", &self.body, fold)?;
        for (name, tensor) in
            [("b_gate", &self.gate_bias), ("b_mag", &self.magnitude_bias), ("r_mag", &self.magnitude_log_scale)]
        {
            exported.add(name, tensor)?;
        }
        Ok(exported)
    }

    fn width(&self) -> usize {
        self.body.width()
    }
}
