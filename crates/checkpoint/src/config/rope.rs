//! Rotary settings, in the older spelling (`rope_theta`, `rope_scaling`) and the newer one (`rope_parameters`). The formulas are
//! those of transformers (`modeling_rope_utils.py`).

use serde::Deserialize;

use super::keys::Keys;
use crate::error::CheckpointError;
use crate::spec::{RopePairs, RopeScaling, RopeSpec};

/// The default base of the frequencies, as in transformers.
const DEFAULT_THETA: f64 = 10_000.0;

/// The object under `rope_parameters` or `rope_scaling`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RopeFields {
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    #[serde(rename = "type")]
    older_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    partial_rotary_factor: Option<f64>,
    attention_factor: Option<f64>,
    long_factor: Option<Vec<f64>>,
    short_factor: Option<Vec<f64>>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    /// A mark of the authors of `YaRN`, without effect.
    #[serde(rename = "finetuned")]
    _finetuned: Option<bool>,
}

/// What a rotary embedding depends on besides its own settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeContext {
    /// Width of a head.
    pub(super) head_dim: usize,
    /// Which part of a head is rotated.
    pub(super) rotated: Rotated,
    /// `max_position_embeddings`.
    pub(super) context_length: usize,
}

/// Which part of a head is rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rotated {
    /// All of it; a file that says otherwise is refused.
    WholeHead,
    /// This fraction, unless the file gives another.
    Part(f64),
}

/// Takes the keys of one rotary embedding.
pub(super) fn read(keys: &mut Keys, context: RopeContext) -> Result<RopeSpec, CheckpointError> {
    let (theta, scaling) = (keys.take("rope_theta")?, keys.take("rope_scaling")?);
    let parameters = keys.take("rope_parameters")?;
    let original = keys.take("original_max_position_embeddings")?;
    resolve(keys, context, theta, scaling, parameters, original)
}

/// Resolves the values of `rope_theta`, `rope_scaling`, `rope_parameters` and `original_max_position_embeddings`.
pub(super) fn resolve(
    keys: &Keys,
    context: RopeContext,
    theta: Option<f64>,
    scaling: Option<RopeFields>,
    parameters: Option<RopeFields>,
    original: Option<usize>,
) -> Result<RopeSpec, CheckpointError> {
    if let (Some(old), Some(new)) = (&scaling, &parameters)
        && old != new
    {
        let advice = "They say different things about one matter; keep the true one";
        return Err(keys.unsupported("rope_scaling", "given beside rope_parameters", "one of the two", advice));
    }
    let Some(fields) = scaling.or(parameters) else {
        let dimensions = dimensions(keys, context, None)?;
        let theta = positive(keys, "rope_theta", Some(theta.unwrap_or(DEFAULT_THETA)))?;
        return Ok(RopeSpec { theta, dimensions, pairs: RopePairs::Halves, scaling: RopeScaling::None });
    };
    let dimensions = dimensions(keys, context, fields.partial_rotary_factor)?;
    let theta = positive(keys, "rope_theta", Some(fields.rope_theta.or(theta).unwrap_or(DEFAULT_THETA)))?;
    // The key outside the object comes first, as in transformers.
    let original = original.or(fields.original_max_position_embeddings).unwrap_or(context.context_length);
    let scaling = match kind(keys, &fields)? {
        // Within `max_position_embeddings`, which is the longest sequence here, the frequencies of "dynamic" are the default.
        "default" | "dynamic" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: positive(keys, "factor", fields.factor)? },
        "llama3" => RopeScaling::Llama3 {
            factor: positive(keys, "factor", fields.factor)?,
            low_frequency_factor: positive(keys, "low_freq_factor", fields.low_freq_factor)?,
            high_frequency_factor: positive(keys, "high_freq_factor", fields.high_freq_factor)?,
            original_context: positive(keys, "original_max_position_embeddings", Some(original as f64))?,
        },
        "yarn" => yarn(keys, &fields, context.context_length, original)?,
        "longrope" => long_rope(keys, &fields, context.context_length, original, dimensions)?,
        other => {
            let advice = "Frequencies would be wrong beyond the first few positions";
            let expected = "default, linear, dynamic, yarn, longrope or llama3";
            return Err(keys.unsupported("rope_type", other, expected, advice));
        }
    };
    Ok(RopeSpec { theta, dimensions, pairs: RopePairs::Halves, scaling })
}

/// The kind of scaling. Phi-3's files have older names of `longrope`.
fn kind<'fields>(keys: &Keys, fields: &'fields RopeFields) -> Result<&'fields str, CheckpointError> {
    let kind = match (&fields.rope_type, &fields.older_type) {
        (Some(newer), Some(older)) if newer != older => {
            return Err(keys.unsupported(
                "rope_type",
                newer,
                &format!("{older}, as type beside it"),
                "Keep the true one",
            ));
        }
        (Some(kind), _) | (None, Some(kind)) => kind.as_str(),
        (None, None) => "default",
    };
    Ok(if kind == "su" || (kind == "yarn" && fields.long_factor.is_some()) { "longrope" } else { kind })
}

fn yarn(keys: &Keys, fields: &RopeFields, longest: usize, original: usize) -> Result<RopeScaling, CheckpointError> {
    let original_context = positive(keys, "original_max_position_embeddings", Some(original as f64))?;
    let factor = positive(keys, "factor", Some(fields.factor.unwrap_or(longest as f64 / original_context)))?;
    let growth = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
    let attention_factor = match (fields.attention_factor, given(fields.mscale), given(fields.mscale_all_dim)) {
        (Some(given), _, _) => given,
        (None, Some(mscale), Some(all)) => growth(mscale) / growth(all),
        (None, _, _) => growth(1.0),
    };
    Ok(RopeScaling::Yarn {
        factor,
        fast: positive(keys, "beta_fast", Some(given(fields.beta_fast).unwrap_or(32.0)))?,
        slow: positive(keys, "beta_slow", Some(given(fields.beta_slow).unwrap_or(1.0)))?,
        original_context,
        truncate: fields.truncate.unwrap_or(true),
        attention_factor: positive(keys, "attention_factor", Some(attention_factor))?,
    })
}

fn long_rope(
    keys: &Keys,
    fields: &RopeFields,
    longest: usize,
    original: usize,
    dimensions: usize,
) -> Result<RopeScaling, CheckpointError> {
    let short = divisors(keys, "short_factor", fields.short_factor.as_deref(), dimensions / 2)?;
    let long = divisors(keys, "long_factor", fields.long_factor.as_deref(), dimensions / 2)?;
    let original_context = positive(keys, "original_max_position_embeddings", Some(original as f64))?;
    let factor = positive(keys, "factor", Some(fields.factor.unwrap_or(longest as f64 / original_context)))?;
    let growth = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original_context.ln()).sqrt() };
    Ok(RopeScaling::LongRope {
        longest: if short == long { longest } else { original },
        factors: short,
        attention_factor: positive(keys, "attention_factor", Some(fields.attention_factor.unwrap_or(growth)))?,
    })
}

/// A list of as many divisors as there are frequencies.
fn divisors(
    keys: &Keys,
    key: &'static str,
    factors: Option<&[f64]>,
    count: usize,
) -> Result<Vec<f64>, CheckpointError> {
    let factors = factors.unwrap_or_default();
    if factors.len() == count && factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
        return Ok(factors.to_vec());
    }
    let got =
        if factors.len() == count { "a list with others".to_owned() } else { format!("a list of {}", factors.len()) };
    Err(keys.unsupported(key, &got, &format!("{count} numbers above 0"), "Mend the file"))
}

/// A number that must be there and above zero.
fn positive(keys: &Keys, key: &'static str, value: Option<f64>) -> Result<f64, CheckpointError> {
    value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| {
        let got = value.map_or_else(|| "absent".to_owned(), |value| value.to_string());
        keys.unsupported(key, &got, "a positive number", "Mend the file")
    })
}

/// Number of elements of a head that are rotated.
fn dimensions(keys: &Keys, context: RopeContext, named: Option<f64>) -> Result<usize, CheckpointError> {
    let RopeContext { head_dim, rotated, .. } = context;
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
