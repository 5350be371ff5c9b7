//! Losses, latents and errors by position in the sequence.
//!
//! Each of the first eight positions has a bin; from there on each doubling of the position has four bins. This
//! resolves the beginning of a sequence, where losses fall fast. 64 bins reach position 131,071. Bins do not depend on
//! the context length, so that caches can be compared.

use serde::{Deserialize, Serialize};

use super::bins::BinSums;
use crate::sums::row_terms::RowTerms;

/// Largest number of bins. The last bin has no upper end.
pub const POSITION_BINS: usize = 64;

/// Positions with a bin each.
const SINGLE: usize = 8;

/// log2 of `SINGLE`.
const SINGLE_BITS: usize = 3;

/// Bins per doubling.
const PER_DOUBLING: usize = 4;

/// The bin of a position; position 0 is the BOS.
pub fn position_bin(position: usize) -> usize {
    if position < SINGLE {
        return position;
    }
    let doubling = position.ilog2() as usize;
    let quarter = (position >> (doubling - 2)) & (PER_DOUBLING - 1);
    (SINGLE + PER_DOUBLING * (doubling - SINGLE_BITS) + quarter).min(POSITION_BINS - 1)
}

/// The first position of a bin. The bin ends before the first position of the next bin.
pub fn first_position(bin: usize) -> usize {
    if bin < SINGLE {
        return bin;
    }
    let (doubling, quarter) = (SINGLE_BITS + (bin - SINGLE) / PER_DOUBLING, (bin - SINGLE) % PER_DOUBLING);
    (PER_DOUBLING + quarter) << (doubling - 2)
}

/// Counts, one per bin, as many as are in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PositionCounts(Vec<u64>);

impl PositionCounts {
    /// The counts.
    pub fn values(&self) -> &[u64] {
        &self.0
    }

    /// Adds one to a bin.
    pub fn add(&mut self, bin: usize) {
        self.add_many(bin, 1);
    }

    /// Adds the counts of another, bin by bin.
    pub fn merge(&mut self, other: &Self) {
        for (bin, &count) in other.0.iter().enumerate() {
            self.add_many(bin, count);
        }
    }

    /// Adds a count to a bin.
    pub fn add_many(&mut self, bin: usize, count: u64) {
        if self.0.len() <= bin {
            self.0.resize(bin + 1, 0);
        }
        self.0[bin] += count;
    }
}

/// Sums by token position, in float64 in row order. Losses are in nats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionSums {
    /// Tokens that the losses cover.
    pub loss_tokens: PositionCounts,
    /// Loss of the clean run.
    pub clean_loss: BinSums,
    /// Loss with the reconstruction spliced in.
    pub sae_loss: BinSums,
    /// Loss under zero ablation.
    pub zero_loss: BinSums,
    /// Tokens that the sums below cover: those that are not outliers.
    pub activation_rows: PositionCounts,
    /// Number of latents above zero.
    pub latents: PositionCounts,
    /// ‖x − r‖².
    pub squared_error: BinSums,
    /// ‖x − x̄‖².
    pub squared_deviation: BinSums,
}

impl PositionSums {
    /// Maps non-finite sums to NaN, as a round trip through JSON does.
    pub fn settle(&mut self) {
        for sums in [
            &mut self.clean_loss,
            &mut self.sae_loss,
            &mut self.zero_loss,
            &mut self.squared_error,
            &mut self.squared_deviation,
        ] {
            sums.settle();
        }
    }

    /// Adds the sums of another.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            loss_tokens,
            clean_loss,
            sae_loss,
            zero_loss,
            activation_rows,
            latents,
            squared_error,
            squared_deviation,
        } = other;
        self.loss_tokens.merge(loss_tokens);
        self.clean_loss.merge(clean_loss);
        self.sae_loss.merge(sae_loss);
        self.zero_loss.merge(zero_loss);
        self.activation_rows.merge(activation_rows);
        self.latents.merge(latents);
        self.squared_error.merge(squared_error);
        self.squared_deviation.merge(squared_deviation);
    }

    /// Adds a kept token at a position.
    pub fn add_activation(&mut self, position: usize, terms: &RowTerms) {
        let bin = position_bin(position);
        self.activation_rows.add(bin);
        self.latents.add_many(bin, terms.latents as u64);
        self.squared_error.add(bin, f64::from(terms.squared_error));
        self.squared_deviation.add(bin, f64::from(terms.squared_deviation));
    }

    /// Adds losses of the spliced run, at their positions.
    pub fn add_sae_losses(&mut self, positions: &[usize], losses: &[f32]) {
        for (&position, &loss) in positions.iter().zip(losses) {
            let bin = position_bin(position);
            self.loss_tokens.add(bin);
            self.sae_loss.add(bin, f64::from(loss));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_one_another_without_gaps() {
        assert_eq!((0..12).map(position_bin).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9]);
        for bin in 0..POSITION_BINS {
            let first = first_position(bin);
            assert_eq!(position_bin(first), bin, "first of {bin}");
            if first > 0 {
                assert_eq!(position_bin(first - 1), bin - 1, "before {bin}");
            }
        }
    }

    #[test]
    fn the_last_bin_takes_all_that_is_beyond() {
        assert_eq!(first_position(POSITION_BINS), 131_072);
        for position in [131_071, 131_072, usize::MAX] {
            assert_eq!(position_bin(position), POSITION_BINS - 1);
        }
    }
}
