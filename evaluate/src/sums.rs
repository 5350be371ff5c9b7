//! Sums from which every column is computed, kept for each shard so that parts of a cache merge exactly.

use serde::{Deserialize, Serialize};

use crate::kl::KlSums;
use crate::measures::{NormHistogram, PositionSums};
use crate::undefined;

/// Sums over some tokens for one SAE and one section. Terms are float32 on the device, sums float64 in row order.
///
/// x is the scaled residual of a token, r its reconstruction, x̄ the mean of x over the section's tokens, outliers
/// apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Tokens behind the three losses: those of the section that have a next token.
    pub loss_tokens: u64,
    /// Next-token loss of the untouched run, nats.
    #[serde(with = "undefined")]
    pub clean_loss: f64,
    /// Next-token loss with the reconstruction in place of the residual, nats.
    #[serde(with = "undefined")]
    pub sae_loss: f64,
    /// Next-token loss with zeros in place of the residual, nats.
    #[serde(with = "undefined")]
    pub zero_loss: f64,
    /// Tokens behind the sums below: those of the section, outliers apart.
    pub activation_rows: u64,
    /// Tokens of the section that were left out of the sums below, with a norm above the threshold or not finite.
    pub outlier_rows: u64,
    /// Those of them that are NaN or infinite.
    pub non_finite_rows: u64,
    /// Latents above zero.
    pub latents: u64,
    /// ‖x − r‖².
    pub squared_error: f64,
    /// ‖x − x̄‖².
    pub squared_deviation: f64,
    /// 1 − ‖x − r‖² / ‖x − x̄‖² of each token.
    #[serde(with = "undefined")]
    pub explained_variance: f64,
    /// Divergences from the clean run, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<KlSums>,
    /// The three losses by position.
    pub positions: PositionSums,
    /// Norms of the section's tokens, outliers among them, in the model's own units.
    pub norms: NormHistogram,
}

impl Sums {
    /// Adds another's sums to these. Merged in the same order, the same sums have the same bits.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            loss_tokens,
            clean_loss,
            sae_loss,
            zero_loss,
            activation_rows,
            outlier_rows,
            non_finite_rows,
            latents,
            squared_error,
            squared_deviation,
            explained_variance,
            kl,
            positions,
            norms,
        } = other;
        self.loss_tokens += loss_tokens;
        self.clean_loss += clean_loss;
        self.sae_loss += sae_loss;
        self.zero_loss += zero_loss;
        self.activation_rows += activation_rows;
        self.outlier_rows += outlier_rows;
        self.non_finite_rows += non_finite_rows;
        self.latents += latents;
        self.squared_error += squared_error;
        self.squared_deviation += squared_deviation;
        self.explained_variance += explained_variance;
        if let Some(kl) = kl {
            self.kl.get_or_insert_default().merge(kl);
        }
        self.positions.merge(positions);
        self.norms.merge(norms);
    }

    /// The sums over all of these, merged in their order.
    pub fn total<'sums>(parts: impl IntoIterator<Item = &'sums Self>) -> Self {
        let mut total = Self::default();
        for part in parts {
            total.merge(part);
        }
        total
    }

    /// Adds a kept token: its latents above zero, ‖x − r‖² and ‖x − x̄‖².
    pub(crate) fn add_activation(&mut self, latents: i64, squared_error: f32, squared_deviation: f32) {
        let (error, deviation) = (f64::from(squared_error), f64::from(squared_deviation));
        self.activation_rows += 1;
        self.latents += latents as u64;
        self.squared_error += error;
        self.squared_deviation += deviation;
        self.explained_variance += 1.0 - error / deviation;
    }

    /// Adds the losses of the spliced run at some tokens, which lie at these positions of their sequences.
    pub(crate) fn add_sae_losses(&mut self, positions: &[usize], losses: &[f32]) {
        self.loss_tokens += losses.len() as u64;
        self.sae_loss += total_loss(losses);
        self.positions.add_sae_losses(positions, losses);
    }
}

/// The sum of some losses in float64.
pub(crate) fn total_loss(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn positions(tokens: &[(usize, u32, u32)]) -> PositionSums {
        let mut sums = PositionSums::default();
        for &(position, loss, _) in tokens {
            sums.add_sae_losses(&[position], &[loss as f32]);
        }
        sums
    }

    fn norms(tokens: &[(usize, u32, u32)]) -> NormHistogram {
        let mut norms = NormHistogram::default();
        for &(.., norm) in tokens {
            norms.add(f64::from(norm));
        }
        norms
    }

    fn part() -> impl Strategy<Value = Sums> {
        let counts = (0..1u64 << 40, 0..1u64 << 40, 0..1000u64, 0..1000u64, 0..1u64 << 50);
        let losses = (0..1u32 << 20, 0..1u32 << 20, 0..1u32 << 20);
        let squares = (0..1u32 << 20, 0..1u32 << 20, -(1i32 << 20)..1 << 20);
        let kl = option::of((0..1u64 << 40, 0..1u32 << 20, 0..1u32 << 20));
        let more = vec((0..5000usize, 0..1u32 << 10, 1u32..1 << 20), 0..5);
        (counts, losses, squares, kl, more).prop_map(|(counts, losses, squares, kl, more)| Sums {
            loss_tokens: counts.0,
            clean_loss: f64::from(losses.0),
            sae_loss: f64::from(losses.1),
            zero_loss: f64::from(losses.2),
            activation_rows: counts.1,
            outlier_rows: counts.2,
            non_finite_rows: counts.3,
            latents: counts.4,
            squared_error: f64::from(squares.0),
            squared_deviation: f64::from(squares.1),
            explained_variance: f64::from(squares.2),
            kl: kl.map(|(tokens, kl, ablated)| KlSums { tokens, kl: kl.into(), kl_ablated: ablated.into() }),
            positions: positions(&more),
            norms: norms(&more),
        })
    }

    proptest! {
        /// Whole numbers of this size add exactly, so that any grouping must give the same.
        #[test]
        fn merged_shards_are_the_whole(parts in vec(part(), 0..20), cut in 0..20usize) {
            let cut = cut.min(parts.len());
            let mut merged = Sums::total(&parts[..cut]);
            merged.merge(&Sums::total(&parts[cut..]));
            prop_assert_eq!(merged, Sums::total(&parts));
        }

        #[test]
        fn json_gives_back_every_bit(parts in vec(part(), 1..4), divisor in 1u32..1000) {
            let mut sums = Sums::total(&parts);
            sums.sae_loss /= f64::from(divisor);
            let text = serde_json::to_string(&sums).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), sums);
        }

        #[test]
        fn tokens_add_up_as_in_float64(rows in vec((0..50i64, 0f32..100.0, 1f32..100.0), 0..50)) {
            let mut sums = Sums::default();
            for &(latents, error, deviation) in &rows {
                sums.add_activation(latents, error, deviation);
            }
            let of = |term: fn(&(i64, f32, f32)) -> f64| rows.iter().map(term).sum::<f64>();
            prop_assert_eq!(sums.activation_rows, rows.len() as u64);
            // The same additions in the same order: the same bits.
            let same = |got: f64, expected: f64| got.to_bits() == (expected + 0.0).to_bits();
            prop_assert!(same(sums.latents as f64, of(|row| row.0 as f64)));
            prop_assert!(same(sums.squared_error, of(|row| f64::from(row.1))));
            prop_assert!(same(sums.squared_deviation, of(|row| f64::from(row.2))));
            prop_assert!(same(sums.explained_variance, of(|row| 1.0 - f64::from(row.1) / f64::from(row.2))));
        }
    }
}
