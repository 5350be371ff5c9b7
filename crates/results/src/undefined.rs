//! Serde for numbers that may be undefined: JSON has no NaN and no infinity, so they are `null` and come back as NaN.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a number, or null.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

/// Reads a number, or NaN from null.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A number as it comes back from JSON: what is not finite is undefined.
pub fn settled(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// What a number is that results of an earlier version do not have.
pub fn not_measured() -> f64 {
    f64::NAN
}
