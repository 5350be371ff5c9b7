//! Feed-forward layers.

use hayloft_checkpoint::{Activation, BlockPart, DecoderSpec};
use tch::Tensor;

use super::Weights;
use super::linear::Linear;
use crate::error::ModelError;

/// `down(activation(gate(x)) * up(x))`, or `down(activation(up(x)))` without a gate.
#[derive(Debug)]
pub(super) struct Mlp {
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Mlp {
    pub(super) fn load(spec: &DecoderSpec, block: usize, weights: &Weights<'_>) -> Result<Self, ModelError> {
        let load = |part| Linear::load(part, spec, block, weights);
        Ok(Self {
            gate: if BlockPart::Gate.is_in(spec) { Some(load(BlockPart::Gate)?) } else { None },
            up: load(BlockPart::Up)?,
            down: load(BlockPart::Down)?,
            activation: spec.mlp.activation,
        })
    }

    /// `[batch, pos, d_model]` in and out.
    pub(super) fn forward(&self, stream: &Tensor) -> Result<Tensor, ModelError> {
        let active = match &self.gate {
            Some(gate) => self.activate(&gate.forward(stream)?)?.f_mul(&self.up.forward(stream)?)?,
            None => self.activate(&self.up.forward(stream)?)?,
        };
        self.down.forward(&active)
    }

    fn activate(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self.activation {
            Activation::Silu => input.f_silu()?,
            Activation::Gelu => input.f_gelu("none")?,
            Activation::GeluTanh => input.f_gelu("tanh")?,
            Activation::Relu => input.f_relu()?,
        })
    }
}
