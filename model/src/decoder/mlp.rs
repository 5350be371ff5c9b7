//! The gated feed-forward part of a block.

use tch::Tensor;

use super::Weights;
use super::linear::Linear;
use crate::ModelError;
use crate::spec::{Activation, DecoderSpec};
use crate::weights::BlockPart;

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Mlp {
    pub(super) fn load(spec: &DecoderSpec, block: usize, weights: &Weights<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            gate: Linear::load(BlockPart::Gate, spec, block, weights)?,
            up: Linear::load(BlockPart::Up, spec, block, weights)?,
            down: Linear::load(BlockPart::Down, spec, block, weights)?,
            activation: spec.mlp.activation,
        })
    }

    /// `[batch, pos, d_model]` in and out.
    pub(super) fn forward(&self, stream: &Tensor) -> Result<Tensor, ModelError> {
        let gate = self.gate.forward(stream)?;
        let gate = match self.activation {
            Activation::Silu => gate.f_silu()?,
            Activation::Gelu => gate.f_gelu("none")?,
            Activation::GeluTanh => gate.f_gelu("tanh")?,
        };
        self.down.forward(&gate.f_mul(&self.up.forward(stream)?)?)
    }
}
