//! Linear layers.

use hayloft_checkpoint::{BlockPart, DecoderSpec};
use tch::Tensor;

use super::Weights;
use crate::error::ModelError;
use crate::tensors::shared_tensor::SharedTensor;

/// A matrix product with an optional bias.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[out, in]`.
    weight: SharedTensor,
    /// `[out]`.
    bias: Option<SharedTensor>,
}

impl Linear {
    #[cfg(test)]
    pub(super) fn new(weight: Tensor) -> Self {
        Self { weight: weight.into(), bias: None }
    }

    pub(super) fn load(
        part: BlockPart,
        spec: &DecoderSpec,
        block: usize,
        weights: &Weights<'_>,
    ) -> Result<Self, ModelError> {
        let bias = part.bias(block, spec).map(|stored| weights.load_piece(&stored)).transpose()?;
        Ok(Self { weight: weights.load_piece(&part.weight(block, spec))?, bias })
    }

    /// `[.., in]` → `[.., out]`.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        Ok(input.f_linear(&self.weight, self.bias.as_deref())?)
    }
}
