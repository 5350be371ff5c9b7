//! Sums in numbered bins, as many as are in use.

use serde::{Deserialize, Deserializer, Serialize};

use crate::nan_as_null;

/// Float64 sums, one per bin. An undefined sum, such as one of NaN losses, is `null` in JSON and reads back as NaN.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct BinSums(Vec<f64>);

impl BinSums {
    /// Wraps sums.
    pub fn of(sums: Vec<f64>) -> Self {
        Self(sums)
    }

    /// The sums.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Adds to a bin.
    pub fn add(&mut self, bin: usize, value: f64) {
        if self.0.len() <= bin {
            self.0.resize(bin + 1, 0.0);
        }
        self.0[bin] += value;
    }

    /// Appends bins.
    pub fn extend(&mut self, values: Vec<f64>) {
        self.0.extend(values);
    }

    /// Maps non-finite sums to NaN, as a round trip through JSON does.
    pub fn settle(&mut self) {
        for sum in &mut self.0 {
            *sum = nan_as_null::settled(*sum);
        }
    }

    /// Adds the sums of another, bin by bin.
    pub fn merge(&mut self, other: &Self) {
        for (bin, &value) in other.0.iter().enumerate() {
            self.add(bin, value);
        }
    }
}

impl<'de> Deserialize<'de> for BinSums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
        Ok(Self(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_grow_as_they_are_used_and_merge_one_by_one() {
        let mut sums = BinSums::default();
        sums.add(2, 1.5);
        let mut other = BinSums::default();
        other.add(0, 1.0);
        other.add(3, 0.5);
        sums.merge(&other);
        assert_eq!(sums.values(), [1.0, 0.0, 1.5, 0.5]);
    }

    #[test]
    fn undefined_sums_survive_json() {
        let mut sums = BinSums::default();
        sums.add(0, 0.1 + 0.2);
        sums.add(1, f64::NAN);
        let text = serde_json::to_string(&sums).unwrap();
        assert_eq!(text, "[0.30000000000000004,null]");
        let read: BinSums = serde_json::from_str(&text).unwrap();
        assert!(read.values()[1].is_nan());
        assert_eq!(read.values()[0].to_bits(), sums.values()[0].to_bits());
    }
}
