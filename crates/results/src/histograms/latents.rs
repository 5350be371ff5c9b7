//! Firing counts of latents.

use std::io;

use hayloft_runtime::safetensors;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

/// A latent that fires in a larger share of rows is dense.
const DENSE: f64 = 0.1;

/// log10 of the smallest density with a separate bin. Smaller densities fall into the first bin.
const LOWEST: i32 = -8;

/// Bins per decade.
const PER_DECADE: usize = 4;

/// For each latent of an SAE, the number of rows in which it is above zero. Counts are integers, so that parts add
/// exactly in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatentCounts {
    /// Rows counted: those of the section without outliers.
    pub rows: u64,
    /// `[width]`: rows in which each latent is above zero.
    pub firings: Vec<u64>,
}

/// Summary of the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentSummary {
    /// Latents that fire in no row; `None` if there are no rows.
    pub dead: Option<u64>,
    /// Latents that fire in more than a tenth of the rows; `None` if there are no rows.
    pub dense: Option<u64>,
    /// Histogram of the other latents by log10 of the share of rows in which they fire. Bins are a quarter wide, the
    /// first from −8, the last up to and including 0.
    pub log10_density: Vec<u64>,
}

impl LatentCounts {
    /// Summarises the counts.
    pub fn summary(&self) -> LatentSummary {
        let mut log10_density = vec![0; LOWEST.unsigned_abs() as usize * PER_DECADE];
        let (mut dead, mut dense) = (0, 0);
        for &firings in &self.firings {
            if firings == 0 {
                dead += 1;
                continue;
            }
            let density = firings as f64 / self.rows as f64;
            dense += u64::from(density > DENSE);
            let place = (density.log10() - f64::from(LOWEST)) * PER_DECADE as f64;
            let last = log10_density.len() - 1;
            log10_density[(place.max(0.0) as usize).min(last)] += 1;
        }
        let known = |count: u64| (self.rows > 0).then_some(count);
        LatentSummary { dead: known(dead), dense: known(dense), log10_density }
    }

    /// Serialises to safetensors: `firings` `[width]` u64, with `about` and the row count as metadata.
    pub fn safetensors(&self, about: [(&str, String); 3]) -> io::Result<Vec<u8>> {
        let [sae, section, manifest] = about;
        let about = [sae, section, manifest, ("rows", self.rows.to_string())];
        let bytes = self.bytes();
        safetensors(&about, &[("firings".to_owned(), Dtype::U64, vec![self.firings.len()], &bytes)])
    }

    /// The counts as little-endian bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.firings.iter().flat_map(|count| count.to_le_bytes()).collect()
    }

    /// Adds the counts of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (total, firings) in self.firings.iter_mut().zip(&other.firings) {
            *total += firings;
        }
    }
}

impl LatentSummary {
    /// Iterates over the bins: lower border, upper border (log10 of the share of rows), latents.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let border = |place: usize| f64::from(LOWEST) + place as f64 / PER_DECADE as f64;
        self.log10_density.iter().enumerate().map(move |(place, &count)| (border(place), border(place + 1), count))
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn latents_are_sorted_by_how_often_they_fire() {
        // Densities: dead, 0.001, 0.1 (not yet dense), 0.2, 1.
        let summary = LatentCounts { rows: 1000, firings: vec![0, 1, 100, 200, 1000] }.summary();
        assert_eq!((summary.dead, summary.dense), (Some(1), Some(2)));
        assert_eq!(summary.log10_density.iter().sum::<u64>(), 4);
        let filled: Vec<_> = summary.bins().filter(|bin| bin.2 > 0).collect();
        assert_eq!(filled, [(-3.0, -2.75, 1), (-1.0, -0.75, 1), (-0.75, -0.5, 1), (-0.25, 0.0, 1)]);
    }

    #[test]
    fn no_rows_say_nothing_of_latents() {
        let summary = LatentCounts { rows: 0, firings: vec![0, 0] }.summary();
        assert_eq!((summary.dead, summary.dense), (None, None));
        assert!(serde_json::to_value(&summary).unwrap()["dead"].is_null());
    }

    #[test]
    fn counts_come_back_from_their_file() {
        let counts = LatentCounts { rows: 7, firings: vec![3, 0, 1 << 40] };
        let about = [("sae", "a".to_owned()), ("section", "all".to_owned()), ("manifest_blake3", "00".to_owned())];
        let bytes = counts.safetensors(about).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor("firings").unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::U64, [3].as_slice()));
        let read = view.data().chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        assert!(read.eq(counts.firings));
    }
}
