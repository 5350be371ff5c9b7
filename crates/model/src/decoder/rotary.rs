//! Rotary position embedding.

use hayloft_checkpoint::{RopePairs, RopeScaling, RopeSpec};
use hayloft_runtime::Dtype;
use tch::{Device, Kind, Tensor};

use crate::compute::kind::kind;
use crate::error::ModelError;
use crate::residual::Positions;
use crate::tensors::shared_tensor::SharedTensor;

/// The inverse frequencies of one rotary embedding.
#[derive(Debug)]
pub(super) struct Rotary {
    /// `[dimensions / 2]`, float32.
    inverse_frequencies: SharedTensor,
    pairs: RopePairs,
    /// Factor of cosines and sines.
    attention_factor: f64,
}

/// Cosines and sines for the positions of one batch.
#[derive(Debug)]
pub(super) struct Angles {
    /// `[pos, dimensions]`, or `[batch, 1, pos, dimensions]` if rows differ, in the activations' type.
    cos: Tensor,
    /// Same shape as `cos`.
    sin: Tensor,
    pairs: RopePairs,
}

impl Rotary {
    pub(super) fn new(spec: &RopeSpec, device: Device) -> Result<Self, ModelError> {
        let frequencies = inverse_frequencies(spec);
        Ok(Self {
            inverse_frequencies: Tensor::f_from_slice(&frequencies)?.f_to_device(device)?.into(),
            pairs: spec.pairs,
            attention_factor: spec.scaling.attention_factor(),
        })
    }

    /// Computes angles in float32 and rounds once, as in transformers.
    pub(super) fn angles(&self, positions: Positions<'_>, precision: Dtype) -> Result<Angles, ModelError> {
        let mut positions = positions.as_tensor(Kind::Float, self.inverse_frequencies.device())?;
        if positions.dim() == 2 {
            positions = positions.f_unsqueeze(1)?; // broadcast over heads
        }
        let half = positions.f_unsqueeze(-1)?.f_mul(&self.inverse_frequencies)?;
        let angles = match self.pairs {
            RopePairs::Halves => Tensor::f_cat(&[&half, &half], -1)?,
            RopePairs::Adjacent => half.f_repeat_interleave_self_int(2, -1, None)?,
        };
        let (mut cos, mut sin) = (angles.f_cos()?, angles.f_sin()?);
        if self.attention_factor.to_bits() != 1.0_f64.to_bits() {
            (cos, sin) = (cos.f_mul_scalar(self.attention_factor)?, sin.f_mul_scalar(self.attention_factor)?);
        }
        let kind = kind(precision);
        Ok(Angles { cos: cos.f_to_kind(kind)?, sin: sin.f_to_kind(kind)?, pairs: self.pairs })
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
        let swapped = match self.pairs {
            RopePairs::Halves => {
                let halves = heads.f_chunk(2, -1)?;
                Tensor::f_cat(&[&halves[1].f_neg()?, &halves[0]], -1)?
            }
            RopePairs::Adjacent => {
                let [even, odd] = [0, 1].map(|first| heads.f_slice(-1, first, None, 2));
                Tensor::f_stack(&[&odd?.f_neg()?, &even?], -1)?.f_flatten(-2, -1)?
            }
        };
        Ok(heads.f_mul(&self.cos)?.f_add(&swapped.f_mul(&self.sin)?)?)
    }
}

/// theta^(-2i/dimensions), scaled. In float32 throughout, like the reference: at position 8000 a float64 result differs
/// visibly.
fn inverse_frequencies(spec: &RopeSpec) -> Vec<f32> {
    let theta = spec.theta as f32;
    let dimensions = spec.dimensions;
    let powers = (0..dimensions / 2).map(|pair| theta.powf((2 * pair) as f32 / dimensions as f32));
    let plain = powers.clone().map(|power| 1.0 / power);
    match &spec.scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|frequency| frequency / *factor as f32).collect(),
        RopeScaling::LongRope { factors, .. } => {
            factors.iter().zip(powers).map(|(factor, power)| 1.0 / (*factor as f32 * power)).collect()
        }
        RopeScaling::Yarn { factor, fast, slow, original_context, truncate, .. } => {
            // The dimension, counted in pairs, whose frequency turns this many times within the original context.
            let pair_of = |turns: f64| {
                let positions = original_context / (turns * 2.0 * std::f64::consts::PI);
                dimensions as f64 * positions.ln() / (2.0 * spec.theta.ln())
            };
            let (first, last) = (pair_of(*fast), pair_of(*slow));
            let (first, last) = if *truncate { (first.floor(), last.ceil()) } else { (first, last) };
            let (first, mut last) = (first.max(0.0), last.min(dimensions as f64 - 1.0));
            if first.to_bits() == last.to_bits() {
                last += 0.001; // as in the reference, against a division by zero
            }
            let blend = |(pair, power): (usize, f32)| {
                let kept = 1.0 - ((pair as f32 - first as f32) / (last - first) as f32).clamp(0.0, 1.0);
                1.0 / (*factor as f32 * power) * (1.0 - kept) + 1.0 / power * kept
            };
            powers.enumerate().map(blend).collect()
        }
        &RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use hayloft_checkpoint::Checkpoint;

    /// `scripts/goldens/rope.py` makes the goldens.
    #[test]
    fn frequencies_are_those_of_transformers() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/rope.json")).unwrap();
        let goldens: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert!(goldens.len() >= 12, "the fixture is incomplete");
        let folder = tempfile::TempDir::new().unwrap();
        for golden in goldens {
            let mut config = json!({
                "vocab_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
            });
            let keys = golden["config"].as_object().unwrap().clone();
            config.as_object_mut().unwrap().extend(keys);
            std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            let spec = Checkpoint::read_spec(folder.path()).unwrap();
            let name = &golden["name"];
            let expected: Vec<f32> = serde_json::from_value(golden["inverse_frequencies"].clone()).unwrap();
            let rope = &spec.ropes()[0];
            let got = inverse_frequencies(rope);
            assert_eq!(got.len(), expected.len(), "{name}");
            for (pair, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert!((got / expected - 1.0).abs() < 1e-6, "{name}: pair {pair}: {got}, expected {expected}");
            }
            let factor = golden["attention_factor"].as_f64().unwrap();
            assert!((rope.scaling.attention_factor() - factor).abs() < 1e-12, "{name}: {:?}", rope.scaling);
            // Sequences beyond the original context have other frequencies.
            if matches!(rope.scaling, RopeScaling::LongRope { .. }) {
                assert_eq!(spec.context_length, 4096, "{name}");
            }
        }
    }
}
