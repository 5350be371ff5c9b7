//! One block: attention and feed-forward, each reading a normed residual and adding to it.

use tch::Tensor;

use super::Weights;
use super::attention::Attention;
use super::mlp::Mlp;
use super::norm::Norm;
use super::reach::Reach;
use super::rotary::Angles;
use crate::ModelError;
use crate::spec::DecoderSpec;
use crate::weights::BlockPart;

/// A pre-norm block.
#[derive(Debug)]
pub(super) struct Block {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
}

impl Block {
    pub(super) fn load(spec: &DecoderSpec, block: usize, weights: &Weights<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            attention_norm: Norm::load(&spec.norm, &BlockPart::AttentionNorm.weight(block), weights)?,
            attention: Attention::load(spec, block, weights)?,
            mlp_norm: Norm::load(&spec.norm, &BlockPart::MlpNorm.weight(block), weights)?,
            mlp: Mlp::load(spec, block, weights)?,
        })
    }

    /// `[batch, pos, d_model]` in and out.
    pub(super) fn forward(&self, stream: &Tensor, angles: &Angles, reach: Reach<'_>) -> Result<Tensor, ModelError> {
        let normed = self.attention_norm.forward(stream)?;
        let middle = stream.f_add(&self.attention.forward(&normed, angles, reach)?)?;
        Ok(middle.f_add(&self.mlp.forward(&self.mlp_norm.forward(&middle)?)?)?)
    }
}
