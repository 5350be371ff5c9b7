//! Rotary settings, in the older spelling (`rope_theta`, `rope_scaling`) and the newer one (`rope_parameters`).

use serde::Deserialize;
use serde_json::Value;

use super::keys::Keys;
use crate::error::ModelError;
use crate::spec::{RopeScaling, RopeSpec};

/// The default base of the frequencies, as in transformers.
const DEFAULT_THETA: f64 = 10_000.0;

/// The object under `rope_parameters` or `rope_scaling`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RopeFields {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    partial_rotary_factor: Option<f64>,
    /// Belongs to `longrope`, which is refused by name.
    #[serde(rename = "long_factor")]
    _long_factor: Option<Value>,
    #[serde(rename = "short_factor")]
    _short_factor: Option<Value>,
}

/// Which part of a head is rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rotated {
    /// All of it; a file that says otherwise is refused.
    WholeHead,
    /// This fraction, unless the file gives another.
    Part(f64),
}

/// Takes the three keys, for heads of this width.
pub(super) fn read(keys: &mut Keys, head_dim: usize, rotated: Rotated) -> Result<RopeSpec, ModelError> {
    let (theta, scaling) = (keys.take("rope_theta")?, keys.take("rope_scaling")?);
    let parameters = keys.take("rope_parameters")?;
    resolve(keys, head_dim, rotated, theta, scaling, parameters)
}

/// Resolves the values of the three keys for heads of this width.
pub(super) fn resolve(
    keys: &Keys,
    head_dim: usize,
    rotated: Rotated,
    theta: Option<f64>,
    scaling: Option<RopeFields>,
    parameters: Option<RopeFields>,
) -> Result<RopeSpec, ModelError> {
    if let (Some(old), Some(new)) = (&scaling, &parameters)
        && old != new
    {
        let advice = "They say different things about one matter; keep the true one";
        return Err(keys.unsupported("rope_scaling", "given beside rope_parameters", "one of the two", advice));
    }
    let needed = |key: &'static str, value: Option<f64>| {
        value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| {
            let got = value.map_or_else(|| "absent".to_owned(), |value| value.to_string());
            keys.unsupported(key, &got, "a positive number", "Mend the file")
        })
    };
    let Some(fields) = scaling.or(parameters) else {
        let dimensions = dimensions(keys, head_dim, rotated, None)?;
        let theta = needed("rope_theta", Some(theta.unwrap_or(DEFAULT_THETA)))?;
        return Ok(RopeSpec { theta, dimensions, scaling: RopeScaling::None });
    };
    let RopeFields {
        rope_type,
        rope_theta,
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
        partial_rotary_factor,
        _long_factor: _,
        _short_factor: _,
    } = fields;
    let dimensions = dimensions(keys, head_dim, rotated, partial_rotary_factor)?;
    let scaling = match rope_type.as_deref().unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: needed("factor", factor)? },
        "llama3" => RopeScaling::Llama3 {
            factor: needed("factor", factor)?,
            low_frequency_factor: needed("low_freq_factor", low_freq_factor)?,
            high_frequency_factor: needed("high_freq_factor", high_freq_factor)?,
            original_context: needed(
                "original_max_position_embeddings",
                original_max_position_embeddings.map(|context| context as f64),
            )?,
        },
        other => {
            let advice = "Frequencies would be wrong beyond the first few positions";
            return Err(keys.unsupported("rope_type", other, "default, linear or llama3", advice));
        }
    };
    let theta = needed("rope_theta", Some(rope_theta.or(theta).unwrap_or(DEFAULT_THETA)))?;
    Ok(RopeSpec { theta, dimensions, scaling })
}

/// Number of elements of a head that are rotated.
fn dimensions(keys: &Keys, head_dim: usize, rotated: Rotated, named: Option<f64>) -> Result<usize, ModelError> {
    let part = match (rotated, named) {
        (Rotated::WholeHead, Some(part)) if (part - 1.0).abs() > f64::EPSILON => {
            let advice = "This family turns the whole head";
            return Err(keys.unsupported("partial_rotary_factor", &part.to_string(), "1 or absent", advice));
        }
        (Rotated::WholeHead, _) => return Ok(head_dim),
        (Rotated::Part(part), named) => named.unwrap_or(part),
    };
    // Rounded down, as in transformers.
    let dimensions = (head_dim as f64 * part) as usize;
    if part > 0.0 && part <= 1.0 && dimensions > 0 {
        return Ok(dimensions);
    }
    let expected = format!("a part of a head of {head_dim}, above 0 and at most 1");
    Err(keys.unsupported("partial_rotary_factor (rotary_pct)", &part.to_string(), &expected, "Mend the file"))
}
