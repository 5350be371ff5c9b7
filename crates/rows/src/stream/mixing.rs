//! Measures how well batches are mixed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::stream::row_run::Origin;

/// Number of distinct row groups per batch, compared with a perfect shuffle of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mixing {
    /// Number of row groups with kept rows.
    pub row_groups: usize,
    /// Mean number of distinct row groups per batch.
    pub row_groups_per_batch: f64,
    /// Expected number for a batch drawn uniformly from all rows: Σ 1 − (1 − nᵢ/N)^batch over row groups with nᵢ of N rows.
    pub row_groups_per_batch_if_perfect: f64,
}

impl Mixing {
    /// Computes it from the kept rows per row group, and the number of distinct row groups summed over `batches` batches.
    pub(super) fn new(kept: &[usize], batch: usize, distinct: u64, batches: u64) -> Self {
        let total: usize = kept.iter().sum();
        let missed = |&rows: &usize| (1.0 - rows as f64 / total as f64).powf(batch as f64);
        Self {
            row_groups: kept.iter().filter(|&&rows| rows > 0).count(),
            row_groups_per_batch: distinct as f64 / batches.max(1) as f64,
            row_groups_per_batch_if_perfect: kept.iter().map(|rows| 1.0 - missed(rows)).sum(),
        }
    }
}

/// Number of distinct row groups among `origins`.
pub(super) fn distinct_row_groups(origins: &[Origin]) -> u64 {
    origins.iter().map(|origin| origin.row_group).collect::<BTreeSet<_>>().len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_shuffle_is_as_expected() {
        // Two row groups of equal size and batches of two: half of the batches contain both.
        let mixing = Mixing::new(&[8, 0, 8], 2, 5, 4);
        assert_eq!(mixing.row_groups, 2);
        assert!((mixing.row_groups_per_batch - 1.25).abs() < 1e-12);
        assert!((mixing.row_groups_per_batch_if_perfect - 1.5).abs() < 1e-12);
    }
}
