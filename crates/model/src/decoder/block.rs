//! One block, as a walk along its sites: attention and feed-forward each read the residual stream and add to it.
//!
//! ```text
//! sequential   resid_pre ─► z ─► attn_out ─► resid_mid ─► (ln2) mlp_in ─► mlp_out ─► resid_post
//! parallel     resid_pre ─► z ─► attn_out ──────────────► (ln2) mlp_in ─► mlp_out ─► resid_post
//! ```
//!
//! One step leads from each site to the next. Besides the value at the site, a step carries the streams that later sums
//! need.

use hayloft_checkpoint::{BlockPart, DecoderSpec, Residuals};
use tch::Tensor;

use super::Weights;
use super::attention::Attention;
use super::attention_mask::AttendedKeys;
use super::mlp::Mlp;
use super::norm::Norm;
use super::rotary::Angles;
use crate::error::ModelError;
use crate::site::Hook;

/// A block.
#[derive(Debug)]
pub(super) struct Block {
    attention_norm: Option<Norm>,
    attention: Attention,
    attention_post_norm: Option<Norm>,
    mlp_norm: Option<Norm>,
    mlp: Mlp,
    mlp_post_norm: Option<Norm>,
    residuals: Residuals,
    /// Index of its rotary embedding among those of the model.
    pub(super) rope: Option<usize>,
}

/// A position in the walk through a block.
#[derive(Debug)]
pub(super) struct BlockState {
    pub(super) hook: Hook,
    /// The value at this site, `[batch, pos, width]`.
    pub(super) value: Tensor,
    /// The streams that later sums need, `[batch, pos, d_model]` each, as listed by [`Site::beside`](crate::Site::beside).
    pub(super) beside: Vec<Tensor>,
}

impl Block {
    pub(super) fn load(spec: &DecoderSpec, block: usize, weights: &Weights<'_>) -> Result<Self, ModelError> {
        let norm = |part| Norm::of_block(part, spec, block, weights);
        Ok(Self {
            attention_norm: norm(BlockPart::AttentionNorm)?,
            attention: Attention::load(spec, block, weights)?,
            attention_post_norm: norm(BlockPart::AttentionPostNorm)?,
            mlp_norm: norm(BlockPart::MlpNorm)?,
            mlp: Mlp::load(spec, block, weights)?,
            mlp_post_norm: norm(BlockPart::MlpPostNorm)?,
            residuals: spec.block.residuals,
            rope: spec.rope(block).map(|(place, _)| place),
        })
    }

    /// Runs the whole block: `[batch, pos, d_model]` in and out.
    pub(super) fn forward(
        &self,
        stream: &Tensor,
        angles: Option<&Angles>,
        attended: AttendedKeys<'_>,
    ) -> Result<Tensor, ModelError> {
        let normed = optional(self.attention_norm.as_ref(), stream)?;
        let heads = self.attention.heads(&normed, angles, attended)?;
        let mut at = BlockState { hook: Hook::Z, value: heads, beside: vec![stream.shallow_clone()] };
        while at.hook != Hook::ResidPost {
            at = self.step(at, Hook::ResidPost, angles)?;
        }
        Ok(at.value)
    }

    /// Advances from one site to a later one of the same block.
    pub(super) fn walk(&self, from: BlockState, to: Hook, angles: Option<&Angles>) -> Result<BlockState, ModelError> {
        let mut at = from;
        while at.hook != to {
            at = self.step(at, to, angles)?;
        }
        Ok(at)
    }

    /// Advances to the next site on the way to `to`. All sequences of the batch start at position 0.
    fn step(&self, at: BlockState, to: Hook, angles: Option<&Angles>) -> Result<BlockState, ModelError> {
        let BlockState { hook, value, beside } = at;
        let stop = |hook, value, beside| Ok(BlockState { hook, value, beside });
        match hook {
            Hook::ResidPre => {
                let normed = optional(self.attention_norm.as_ref(), &value)?;
                stop(Hook::Z, self.attention.heads(&normed, angles, AttendedKeys::Batch)?, vec![value])
            }
            Hook::Z => {
                let added = self.attention.output(&value)?;
                stop(Hook::AttnOut, optional(self.attention_post_norm.as_ref(), &added)?, beside)
            }
            Hook::AttnOut => {
                let stream = first(&beside)?;
                match self.residuals {
                    Residuals::Sequential => stop(Hook::ResidMid, stream.f_add(&value)?, Vec::new()),
                    Residuals::Parallel => {
                        let stream = stream.shallow_clone();
                        self.enter_mlp(&stream.shallow_clone(), to, vec![stream, value])
                    }
                }
            }
            Hook::ResidMid => self.enter_mlp(&value.shallow_clone(), to, vec![value]),
            Hook::Ln2Normalized => {
                let entering = match &self.mlp_norm {
                    Some(norm) => norm.finish(&value)?,
                    None => value,
                };
                stop(Hook::MlpIn, entering, beside)
            }
            Hook::MlpIn => {
                let added = self.mlp.forward(&value)?;
                stop(Hook::MlpOut, optional(self.mlp_post_norm.as_ref(), &added)?, beside)
            }
            Hook::MlpOut => {
                let stream = first(&beside)?;
                // The summation order of the references: a sum of three terms depends on it bit for bit.
                let sum = match beside.get(1) {
                    Some(attention) => value.f_add(attention)?.f_add(stream)?,
                    None => stream.f_add(&value)?,
                };
                stop(Hook::ResidPost, sum, Vec::new())
            }
            Hook::ResidPost => {
                let problem = format!("{to} does not come after {hook} in one block");
                Err(ModelError::Input { problem })
            }
        }
    }

    /// Applies the norm before the feed-forward part. Stops at the normalised value only if `to` asks for it.
    fn enter_mlp(&self, stream: &Tensor, to: Hook, beside: Vec<Tensor>) -> Result<BlockState, ModelError> {
        let (hook, value) = match &self.mlp_norm {
            Some(norm) if to == Hook::Ln2Normalized => (Hook::Ln2Normalized, norm.normalized(stream)?),
            norm => (Hook::MlpIn, optional(norm.as_ref(), stream)?),
        };
        Ok(BlockState { hook, value, beside })
    }
}

fn optional(norm: Option<&Norm>, stream: &Tensor) -> Result<Tensor, ModelError> {
    match norm {
        Some(norm) => norm.forward(stream),
        None => Ok(stream.shallow_clone()),
    }
}

fn first(beside: &[Tensor]) -> Result<&Tensor, ModelError> {
    let none = || ModelError::Input { problem: "the stream beside a site: expected one, got none".to_owned() };
    beside.first().ok_or_else(none)
}
