//! Rotary settings: the older spelling (`rope_theta`, `rope_scaling`) and the newer one (`rope_parameters`).

use serde::Deserialize;

use super::Source;
use crate::ModelError;
use crate::spec::{RopeScaling, RopeSpec};

/// The base of the frequencies where a file names none, as in transformers.
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
}

/// Resolves the three keys that a file may hold.
pub(super) fn resolve(
    source: &Source,
    theta: Option<f64>,
    scaling: Option<RopeFields>,
    parameters: Option<RopeFields>,
) -> Result<RopeSpec, ModelError> {
    if let (Some(old), Some(new)) = (&scaling, &parameters)
        && old != new
    {
        let advice = "They say different things about one matter; keep the true one";
        return Err(source.unsupported("rope_scaling", "given beside rope_parameters", "one of the two", advice));
    }
    let Some(fields) = scaling.or(parameters) else {
        return Ok(RopeSpec { theta: theta.unwrap_or(DEFAULT_THETA), scaling: RopeScaling::None });
    };
    let RopeFields {
        rope_type,
        rope_theta,
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
        partial_rotary_factor,
    } = fields;
    if let Some(part) = partial_rotary_factor.filter(|part| (part - 1.0).abs() > f64::EPSILON) {
        let advice = "These families turn the whole head";
        return Err(source.unsupported("partial_rotary_factor", &part.to_string(), "1 or absent", advice));
    }
    let needed = |key: &str, value: Option<f64>| {
        value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| {
            let got = value.map_or_else(|| "absent".to_owned(), |value| value.to_string());
            source.unsupported(key, &got, "a positive number for this rope_type", "Mend the file")
        })
    };
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
            return Err(source.unsupported("rope_type", other, "default, linear or llama3", advice));
        }
    };
    Ok(RopeSpec { theta: needed("rope_theta", Some(rope_theta.or(theta).unwrap_or(DEFAULT_THETA)))?, scaling })
}
