//! Normalisation of the encoder's input, and its inverse for the decoder's output.

use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;
use tch::{Kind, TchError, Tensor};

/// SAELens's epsilon, added to the standard deviation.
const LAYER_NORM_EPSILON: f64 = 1e-5;

/// The normalisation an SAE expects of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// No normalisation.
    None,
    /// A single factor per model, `sqrt(d_model) / mean norm`, which SAE files do not contain. The caller of the forward pass
    /// applies it; nothing is done here.
    ExpectedAverageOnlyIn,
    /// Each row is rescaled to norm `sqrt(d_model)`.
    ConstantNormRescale,
    /// Each row is normalised to mean 0 and standard deviation 1 (unbiased).
    LayerNorm,
}

/// The inverse of a normalisation. Tensors are `[rows, 1]` float32.
#[derive(Debug)]
pub enum Undo {
    /// The identity.
    Nothing,
    /// A division.
    Divide {
        /// The divisor.
        by: Tensor,
    },
    /// A multiplication, then an addition.
    Spread {
        /// The factor: the input's standard deviation.
        deviation: Tensor,
        /// The summand: the input's mean.
        mean: Tensor,
    },
}

impl Normalisation {
    /// SAELens's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ExpectedAverageOnlyIn => "expected_average_only_in",
            Self::ConstantNormRescale => "constant_norm_rescale",
            Self::LayerNorm => "layer_norm",
        }
    }

    /// Every normalisation.
    pub(crate) const ALL: [Self; 4] =
        [Self::None, Self::ExpectedAverageOnlyIn, Self::ConstantNormRescale, Self::LayerNorm];

    /// Normalises rows `[rows, d_model]` float32. Also returns the inverse.
    pub fn apply(self, x: &Tensor) -> Result<(Tensor, Undo), TchError> {
        match self {
            Self::None | Self::ExpectedAverageOnlyIn => Ok((x.shallow_clone(), Undo::Nothing)),
            Self::ConstantNormRescale => {
                let norm = x.f_linalg_norm(2.0, [-1i64].as_slice(), true, Kind::Float)?;
                let root = (*x.size().last().unwrap_or(&0) as f64).sqrt();
                let coefficient = norm.f_reciprocal()?.f_mul_scalar(root)?;
                Ok((x.f_mul(&coefficient)?, Undo::Divide { by: coefficient }))
            }
            Self::LayerNorm => {
                let mean = x.f_mean_dim([-1i64].as_slice(), true, Kind::Float)?;
                let centred = x.f_sub(&mean)?;
                let deviation = centred.f_std_dim([-1i64].as_slice(), true, true)?;
                let normed = centred.f_div(&deviation.f_add_scalar(LAYER_NORM_EPSILON)?)?;
                Ok((normed, Undo::Spread { deviation, mean }))
            }
        }
    }
}

impl FromStr for Normalisation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str);
            format!("expected {}, got {name}{}", known.join(", "), did_you_mean(name, known))
        })
    }
}

impl Undo {
    /// Maps a reconstruction `[rows, d_model]` back to the scale of the input.
    pub fn apply(&self, reconstruction: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Nothing => Ok(reconstruction),
            Self::Divide { by } => reconstruction.f_div(by),
            // Without the epsilon, as in SAELens.
            Self::Spread { deviation, mean } => reconstruction.f_mul(deviation)?.f_add(mean),
        }
    }

    /// The linear part of [`Self::apply`], for a difference `[rows, d_model]` of two reconstructions.
    pub fn stretch(&self, difference: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Nothing => Ok(difference),
            Self::Divide { by } => difference.f_div(by),
            Self::Spread { deviation, .. } => difference.f_mul(deviation),
        }
    }
}
