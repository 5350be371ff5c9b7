//! Losses, latents and errors by position in the sequence.
//!
//! The first eight positions have a bin each; from there on every doubling of the position is cut into four bins. So the
//! beginning of a sequence, where losses fall fast, is told apart, and 64 bins reach to position 131,071 whatever the
//! context length: bins of any two caches are the same.

use serde::{Deserialize, Serialize};

use super::bins::BinSums;
use crate::sums::terms::RowTerms;

/// The most bins. Positions beyond the last bin's first fall into it.
pub const POSITION_BINS: usize = 64;

/// Positions with a bin of their own.
const SINGLE: usize = 8;

/// log2 of `SINGLE`.
const SINGLE_BITS: usize = 3;

/// Bins that a doubling is cut into.
const PER_DOUBLING: usize = 4;

/// The bin of a position, counted from zero at the BOS.
pub fn position_bin(position: usize) -> usize {
    if position < SINGLE {
        return position;
    }
    let doubling = position.ilog2() as usize;
    let quarter = (position >> (doubling - 2)) & (PER_DOUBLING - 1);
    (SINGLE + PER_DOUBLING * (doubling - SINGLE_BITS) + quarter).min(POSITION_BINS - 1)
}

/// The first position of a bin; that of the next bin ends it.
pub fn first_position(bin: usize) -> usize {
    if bin < SINGLE {
        return bin;
    }
    let (doubling, quarter) = (SINGLE_BITS + (bin - SINGLE) / PER_DOUBLING, (bin - SINGLE) % PER_DOUBLING);
    (PER_DOUBLING + quarter) << (doubling - 2)
}

/// Counts, one a bin, as long as there are bins in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PositionCounts(Vec<u64>);

impl PositionCounts {
    /// The counts.
    pub fn values(&self) -> &[u64] {
        &self.0
    }

    /// Counts one more in a bin.
    pub fn add(&mut self, bin: usize) {
        self.add_many(bin, 1);
    }

    /// Adds another's counts, bin by bin.
    pub fn merge(&mut self, other: &Self) {
        for (bin, &count) in other.0.iter().enumerate() {
            self.add_many(bin, count);
        }
    }

    /// Counts several more in a bin.
    pub fn add_many(&mut self, bin: usize, count: u64) {
        if self.0.len() <= bin {
            self.0.resize(bin + 1, 0);
        }
        self.0[bin] += count;
    }
}

/// Sums by the position of the token that they are at, in float64 in row order; losses are in nats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionSums {
    /// Tokens behind the losses.
    pub loss_tokens: PositionCounts,
    /// Of the untouched run.
    pub clean_loss: BinSums,
    /// With the reconstruction in place of the residual.
    pub sae_loss: BinSums,
    /// With zeros in place of the residual.
    pub zero_loss: BinSums,
    /// Tokens behind the sums below: those that are no outliers.
    #[serde(default)]
    pub activation_rows: PositionCounts,
    /// Latents above zero.
    #[serde(default)]
    pub latents: PositionCounts,
    /// ‖x − r‖².
    #[serde(default)]
    pub squared_error: BinSums,
    /// ‖x − x̄‖².
    #[serde(default)]
    pub squared_deviation: BinSums,
}

impl PositionSums {
    /// Makes of what is not finite what JSON makes of it: undefined.
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

    /// Adds another's sums to these.
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

    /// Adds the losses of the spliced run at some positions.
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
