//! RMS norm and `LayerNorm`.

use hayloft_checkpoint::{BlockPart, DecoderSpec, NormKind, NormSpec, NormWeight};
use tch::{Kind, Tensor};

use super::Weights;
use crate::error::ModelError;
use crate::tensors::shared_tensor::SharedTensor;

/// A norm layer.
#[derive(Debug)]
pub(super) struct Norm {
    /// `[width]`. Float32 if applied in float32. Includes the added one of [`NormWeight::OnePlus`].
    weight: SharedTensor,
    /// `[width]`, float32. `LayerNorm` only.
    bias: Option<SharedTensor>,
    spec: NormSpec,
}

impl Norm {
    pub(super) fn load(
        spec: &NormSpec,
        weight: &str,
        bias: Option<&str>,
        weights: &Weights<'_>,
    ) -> Result<Self, ModelError> {
        let weight = match spec.weight {
            NormWeight::Plain => weights.load(weight)?,
            NormWeight::Wide => weights.load_f32(weight)?.into(),
            NormWeight::OnePlus => weights.load_f32(weight)?.f_add_scalar(1.0)?.into(),
        };
        let bias = bias.map(|name| weights.load_f32(name)).transpose()?.map(Into::into);
        Ok(Self { weight, bias, spec: spec.clone() })
    }

    /// The norm of a part of a block, if the spec has it.
    pub(super) fn of_block(
        part: BlockPart,
        spec: &DecoderSpec,
        block: usize,
        weights: &Weights<'_>,
    ) -> Result<Option<Self>, ModelError> {
        if !part.is_in(spec) {
            return Ok(None);
        }
        let bias = part.bias(block, spec).map(|stored| stored.name);
        Self::load(&spec.norm, &part.weight(block, spec).name, bias.as_deref(), weights).map(Some)
    }

    /// `[.., width]` in and out, in the activations' type.
    pub(super) fn forward(&self, stream: &Tensor) -> Result<Tensor, ModelError> {
        let kind = stream.f_kind()?;
        let normed = self.unweighted(stream)?;
        Ok(match self.spec.weight {
            NormWeight::Plain => normed.f_to_kind(kind)?.f_mul(&self.weight)?,
            NormWeight::Wide | NormWeight::OnePlus => self.weighted(&normed)?.f_to_kind(kind)?,
        })
    }

    /// `hook_normalized` of `TransformerLens`, in the activations' type: an RMS norm before its weight, or the full output
    /// of a `LayerNorm`.
    pub(super) fn normalized(&self, stream: &Tensor) -> Result<Tensor, ModelError> {
        match self.spec.kind {
            NormKind::RootMeanSquare => Ok(self.unweighted(stream)?.f_to_kind(stream.f_kind()?)?),
            NormKind::Layer => self.forward(stream),
        }
    }

    /// The output of the norm, given [`normalized`](Self::normalized).
    pub(super) fn finish(&self, normalized: &Tensor) -> Result<Tensor, ModelError> {
        if self.spec.kind == NormKind::Layer {
            return Ok(normalized.shallow_clone());
        }
        let kind = normalized.f_kind()?;
        Ok(match self.spec.weight {
            NormWeight::Plain => normalized.f_mul(&self.weight)?,
            NormWeight::Wide | NormWeight::OnePlus => {
                self.weighted(&normalized.f_to_kind(Kind::Float)?)?.f_to_kind(kind)?
            }
        })
    }

    /// What the norm makes of a direction `[.., width]` that is added to its input, float32, but for the factor of the input's
    /// size: a `LayerNorm` takes the mean away, and the weight multiplies. That is TransformerLens's `fold_ln`.
    pub(super) fn of_direction(&self, direction: &Tensor) -> Result<Tensor, ModelError> {
        let direction = direction.f_to_kind(Kind::Float)?;
        let direction = match self.spec.kind {
            NormKind::RootMeanSquare => direction,
            NormKind::Layer => direction.f_sub(&direction.f_mean_dim(-1, true, Kind::Float)?)?,
        };
        Ok(direction.f_mul(&self.weight.f_to_kind(Kind::Float)?)?)
    }

    /// The normalised values before the weight, float32.
    fn unweighted(&self, stream: &Tensor) -> Result<Tensor, ModelError> {
        let stream = stream.f_to_kind(Kind::Float)?;
        let stream = match self.spec.kind {
            NormKind::RootMeanSquare => stream,
            NormKind::Layer => stream.f_sub(&stream.f_mean_dim(-1, true, Kind::Float)?)?,
        };
        let mean_square = stream.f_square()?.f_mean_dim(-1, true, Kind::Float)?;
        Ok(stream.f_mul(&mean_square.f_add_scalar(self.spec.epsilon)?.f_rsqrt()?)?)
    }

    /// Applies weight and bias, in float32.
    fn weighted(&self, normed: &Tensor) -> Result<Tensor, ModelError> {
        let weighted = normed.f_mul(&self.weight)?;
        Ok(match &self.bias {
            Some(bias) => weighted.f_add(bias)?,
            None => weighted,
        })
    }
}
