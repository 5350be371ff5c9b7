//! Rotary position embedding, "half" layout: element i of a head is rotated with element `i + dimensions/2`.

use hayloft_runtime::Dtype;
use tch::{Device, Kind, Tensor};

use crate::compute::kind::kind;
use crate::error::ModelError;
use crate::residual::Positions;
use crate::spec::{RopeScaling, RopeSpec};
use crate::tensors::shared_tensor::SharedTensor;

/// The inverse frequencies of one rotary embedding.
#[derive(Debug)]
pub(super) struct Rotary {
    /// `[dimensions / 2]`, float32.
    inverse_frequencies: SharedTensor,
}

/// Cosines and sines for the positions of one batch.
#[derive(Debug)]
pub(super) struct Angles {
    /// `[pos, dimensions]`, or `[batch, 1, pos, dimensions]` if rows differ, in the activations' type.
    cos: Tensor,
    /// Same shape as `cos`.
    sin: Tensor,
}

impl Rotary {
    pub(super) fn new(spec: &RopeSpec, device: Device) -> Result<Self, ModelError> {
        let frequencies = inverse_frequencies(spec);
        Ok(Self { inverse_frequencies: Tensor::f_from_slice(&frequencies)?.f_to_device(device)?.into() })
    }

    /// Computes angles in float32 and rounds once, as in transformers.
    pub(super) fn angles(&self, positions: Positions<'_>, precision: Dtype) -> Result<Angles, ModelError> {
        let mut positions = positions.as_tensor(Kind::Float, self.inverse_frequencies.device())?;
        if positions.dim() == 2 {
            positions = positions.f_unsqueeze(1)?; // broadcast over heads
        }
        let half = positions.f_unsqueeze(-1)?.f_mul(&self.inverse_frequencies)?;
        let angles = Tensor::f_cat(&[&half, &half], -1)?;
        let kind = kind(precision);
        Ok(Angles { cos: angles.f_cos()?.f_to_kind(kind)?, sin: angles.f_sin()?.f_to_kind(kind)? })
    }
}

impl Angles {
    /// Rotates the first `dimensions` elements of each head of queries or keys `[batch, heads, pos, head_dim]`.
    pub(super) fn turn(&self, heads: &Tensor) -> Result<Tensor, ModelError> {
        let (dimensions, head_dim) = (*self.cos.size().last().unwrap_or(&0), heads.size4()?.3);
        if dimensions == head_dim {
            return self.turn_whole(heads);
        }
        let turned = self.turn_whole(&heads.f_narrow(-1, 0, dimensions)?)?;
        Ok(Tensor::f_cat(&[&turned, &heads.f_narrow(-1, dimensions, head_dim - dimensions)?], -1)?)
    }

    fn turn_whole(&self, heads: &Tensor) -> Result<Tensor, ModelError> {
        let halves = heads.f_chunk(2, -1)?;
        let swapped = Tensor::f_cat(&[&halves[1].f_neg()?, &halves[0]], -1)?;
        Ok(heads.f_mul(&self.cos)?.f_add(&swapped.f_mul(&self.sin)?)?)
    }
}

/// theta^(-2i/dimensions), scaled. In float32 throughout, like the reference: at position 8000 a float64 result differs
/// visibly.
fn inverse_frequencies(spec: &RopeSpec) -> Vec<f32> {
    let theta = spec.theta as f32;
    let dimensions = spec.dimensions;
    let plain = (0..dimensions / 2).map(|pair| 1.0 / theta.powf((2 * pair) as f32 / dimensions as f32));
    match spec.scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|frequency| frequency / factor as f32).collect(),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            let (low, high) = (low_frequency_factor as f32, high_frequency_factor as f32);
            let (factor, context) = (factor as f32, original_context as f32);
            let stretch = |frequency: f32| {
                let wavelength = 2.0 * std::f32::consts::PI / frequency;
                if wavelength < context / high {
                    frequency
                } else if wavelength > context / low {
                    frequency / factor
                } else {
                    let smooth = (context / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            };
            plain.map(stretch).collect()
        }
    }
}
