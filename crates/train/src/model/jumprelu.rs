//! `JumpReLU` (Rajamanoharan et al. 2024): a learnt threshold per latent, trained with straight-through estimators.

use tch::{Kind, TchError, Tensor};

use super::body::{Body, squared_error};
use super::export::{Exported, Fold};
use super::{Forward, Input, Model};
use crate::settings::architecture::Penalty;

/// A `JumpReLU` SAE. As in SAELens, thresholds θ are trained directly, not as logarithms.
#[derive(Debug)]
pub(super) struct JumpRelu {
    pub(super) body: Body,
    /// `[width]`.
    pub(super) bias: Tensor,
    /// `[width]`.
    pub(super) threshold: Tensor,
    /// Width ε of the rectangular kernel that approximates the derivative of the step.
    pub(super) bandwidth: f64,
    pub(super) penalty: Penalty,
}

impl JumpRelu {
    /// The kernel `[rows, width]`: 1 where a pre-activation is within ε/2 of its threshold, otherwise 0.
    fn near(&self, pre: &Tensor) -> Result<Tensor, TchError> {
        let distance = pre.f_sub(&self.threshold)?.f_abs()?;
        distance.f_lt(self.bandwidth / 2.0)?.f_to_kind(Kind::Float)
    }

    /// Zeros `[width]` that carry gradients to the thresholds.
    fn lever(&self) -> Result<Tensor, TchError> {
        self.threshold.f_sub(&self.threshold.f_detach()?)
    }

    fn sparsity(&self, open: &Tensor, near: &Tensor, latents: &Tensor) -> Result<Tensor, TchError> {
        let rows = open.size()[0] as f64;
        match self.penalty {
            // Mean number of active latents; ∂/∂θ of each step is −kernel/ε.
            Penalty::L0 => {
                let fired = open.f_sum(Kind::Float)?.f_div_scalar(rows)?;
                let slope = near.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Float)?;
                fired.f_sub(&slope.f_div_scalar(self.bandwidth * rows)?.f_dot(&self.lever()?)?)
            }
            Penalty::Tanh { scale } => {
                let sized = latents.f_mul(&self.body.decoder_norms()?)?.f_mul_scalar(scale)?;
                sized.f_tanh()?.f_sum(Kind::Float)?.f_div_scalar(rows)
            }
        }
    }
}

impl Model for JumpRelu {
    fn parameters(&self) -> Vec<(&'static str, &Tensor)> {
        [self.body.parameters().as_slice(), &[("b_enc", &self.bias), ("threshold", &self.threshold)]].concat()
    }

    /// A negative threshold would let negative pre-activations through.
    fn constrain(&mut self) -> Result<(), TchError> {
        let _ = self.threshold.f_clamp_min_(0.0)?;
        Ok(())
    }

    fn forward(&self, input: &Input<'_>) -> Result<Forward, TchError> {
        let (seen, undo) = self.body.encoder_input(input.x)?;
        let pre = self.bias.f_addmm(&seen, &self.body.encoder)?;
        let (open, near) = {
            let _no_grad = hayloft_model::no_grad();
            (pre.f_gt_tensor(&self.threshold)?.f_to_kind(Kind::Float)?, self.near(&pre)?)
        };
        // ∂latent/∂pre is the step; ∂latent/∂θ is estimated as −kernel θ/ε.
        let slope = near.f_mul(&self.threshold.f_detach()?)?.f_div_scalar(self.bandwidth)?;
        let latents = pre.f_mul(&open)?.f_sub(&slope.f_mul(&self.lever()?)?)?;
        let reconstruction = self.body.decode(&latents, &self.body.decoder, &undo)?;
        let sparsity = self.sparsity(&open, &near, &latents)?;
        Ok(Forward {
            reconstruction_loss: squared_error(&reconstruction, input.x)?,
            sparsity_loss: Some(sparsity.f_mul_scalar(input.coefficient)?),
            auxiliary_loss: None,
            reconstruction,
            latents,
        })
    }

    fn export(&self, fold: Fold) -> Result<Exported, TchError> {
        let mut exported = Exported::of("jumprelu", &self.body, fold)?;
        exported.add("b_enc", &self.bias)?;
        exported.add("threshold", &self.threshold.f_clamp_min(0.0)?)?;
        Ok(exported)
    }

    fn width(&self) -> usize {
        self.body.width()
    }
}
