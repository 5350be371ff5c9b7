//! Root-mean-square norm.

use tch::{Kind, Tensor};

use super::Weights;
use crate::spec::{NormSpec, NormWeight};
use crate::{ModelError, SharedTensor};

/// `x / sqrt(mean(x²) + epsilon)` times a weight.
#[derive(Debug)]
pub(super) struct Norm {
    /// `[d_model]`; float32 and one already added for [`NormWeight::OnePlus`].
    weight: SharedTensor,
    spec: NormSpec,
}

impl Norm {
    pub(super) fn load(spec: &NormSpec, name: &str, weights: &Weights<'_>) -> Result<Self, ModelError> {
        let weight = match spec.weight {
            NormWeight::Plain => weights.load(name)?,
            NormWeight::OnePlus => weights.load_f32(name)?.f_add_scalar(1.0)?.into(),
        };
        Ok(Self { weight, spec: spec.clone() })
    }

    /// `[.., d_model]` in, the same out, in the activations' type.
    pub(super) fn forward(&self, stream: &Tensor) -> Result<Tensor, ModelError> {
        let kind = stream.f_kind()?;
        let stream = stream.f_to_kind(Kind::Float)?;
        let mean_square = stream.f_square()?.f_mean_dim(-1, true, Kind::Float)?;
        let normed = stream.f_mul(&mean_square.f_add_scalar(self.spec.epsilon)?.f_rsqrt()?)?;
        match self.spec.weight {
            NormWeight::Plain => Ok(normed.f_to_kind(kind)?.f_mul(&self.weight)?),
            NormWeight::OnePlus => Ok(normed.f_mul(&self.weight)?.f_to_kind(kind)?),
        }
    }
}
