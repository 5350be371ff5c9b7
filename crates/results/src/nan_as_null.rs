//! Serde for numbers that may be undefined. JSON has neither NaN nor infinity, so they become `null` and read back as
//! NaN.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a number, or null if it is not finite.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

/// Reads a number; null becomes NaN.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The value after a round trip through JSON: non-finite numbers become NaN.
pub(crate) fn settled(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}
