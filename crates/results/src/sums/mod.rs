//! Sums from which every column is computed, kept per shard so that parts of a cache merge exactly.

pub(crate) mod row_terms;
pub(crate) mod sequence;

use serde::{Deserialize, Serialize};

use crate::histograms::{BinSums, NormHistogram, PositionCounts, PositionSums};
use crate::kl::sums::KlSums;
use crate::nan_as_null;
use crate::sums::row_terms::RowTerms;

/// Sums over tokens for one SAE and one section. Terms are float32 on the device, sums float64 in row order.
///
/// x is the SAE's target at a token, r its reconstruction, x̄ the mean of x over the section's tokens without outliers;
/// all are scaled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Tokens that the three losses cover: those of the section with a next token.
    pub loss_tokens: u64,
    /// Next-token loss of the clean run, nats.
    #[serde(with = "nan_as_null")]
    pub clean_loss: f64,
    /// Next-token loss with the reconstruction spliced in, nats.
    #[serde(with = "nan_as_null")]
    pub sae_loss: f64,
    /// Next-token loss under zero ablation, nats.
    #[serde(with = "nan_as_null")]
    pub zero_loss: f64,
    /// Tokens that the sums below cover: those of the section without outliers.
    pub activation_rows: u64,
    /// Outliers: tokens of the section with a norm above the threshold or not finite.
    pub outlier_rows: u64,
    /// Outliers with NaN or infinity.
    pub non_finite_rows: u64,
    /// Excluded tokens of the section; none of them counts as an outlier.
    pub excluded_rows: u64,
    /// Number of latents above zero.
    pub latents: u64,
    /// Sum of latents.
    #[serde(with = "nan_as_null")]
    pub l1: f64,
    /// ‖x − r‖².
    #[serde(with = "nan_as_null")]
    pub squared_error: f64,
    /// ‖x − x̄‖².
    #[serde(with = "nan_as_null")]
    pub squared_deviation: f64,
    /// 1 − ‖x − r‖² / ‖x − x̄‖² of each token.
    #[serde(with = "nan_as_null")]
    pub explained_variance: f64,
    /// Cosine similarity of x and r, 0 if either is zero.
    #[serde(with = "nan_as_null")]
    pub cosine_similarity: f64,
    /// ‖r‖ / ‖x‖; a denominator below 1e-4 is replaced by 1.
    #[serde(with = "nan_as_null")]
    pub l2_ratio: f64,
    /// ‖r‖².
    #[serde(with = "nan_as_null")]
    pub reconstruction_square: f64,
    /// x · r.
    #[serde(with = "nan_as_null")]
    pub product: f64,
    /// Divergences from the clean run, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<KlSums>,
    /// Losses and activation sums by position.
    pub positions: PositionSums,
    /// Norms of the section's tokens, outliers included, unscaled.
    pub norms: NormHistogram,
}

impl Sums {
    /// Adds the sums of another. The same sums merged in the same order give the same bits.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            loss_tokens,
            clean_loss,
            sae_loss,
            zero_loss,
            activation_rows,
            outlier_rows,
            non_finite_rows,
            excluded_rows,
            latents,
            l1,
            squared_error,
            squared_deviation,
            explained_variance,
            cosine_similarity,
            l2_ratio,
            reconstruction_square,
            product,
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
        self.excluded_rows += excluded_rows;
        self.latents += latents;
        self.l1 += l1;
        self.squared_error += squared_error;
        self.squared_deviation += squared_deviation;
        self.explained_variance += explained_variance;
        self.cosine_similarity += cosine_similarity;
        self.l2_ratio += l2_ratio;
        self.reconstruction_square += reconstruction_square;
        self.product += product;
        if let Some(kl) = kl {
            self.kl.get_or_insert_default().merge(kl);
        }
        self.positions.merge(positions);
        self.norms.merge(norms);
    }

    /// Maps non-finite sums to NaN, as a round trip through JSON does, so that metrics do not depend on whether sums
    /// were written and read back.
    pub fn settle(&mut self) {
        for sum in [
            &mut self.clean_loss,
            &mut self.sae_loss,
            &mut self.zero_loss,
            &mut self.l1,
            &mut self.squared_error,
            &mut self.squared_deviation,
            &mut self.explained_variance,
            &mut self.cosine_similarity,
            &mut self.l2_ratio,
            &mut self.reconstruction_square,
            &mut self.product,
        ] {
            *sum = nan_as_null::settled(*sum);
        }
        if let Some(kl) = &mut self.kl {
            kl.settle();
        }
        self.positions.settle();
    }

    /// Merges sums in their order.
    pub fn total<'sums>(parts: impl IntoIterator<Item = &'sums Self>) -> Self {
        let mut total = Self::default();
        for part in parts {
            total.merge(part);
        }
        total
    }

    /// The sums of each position bin: those that positions have.
    pub fn by_position(&self) -> impl Iterator<Item = Self> + '_ {
        let own = &self.positions;
        let bins = own.loss_tokens.values().len().max(own.activation_rows.values().len());
        (0..bins).map(|bin| {
            let count = |counts: &PositionCounts| counts.values().get(bin).copied().unwrap_or(0);
            let sum = |sums: &BinSums| sums.values().get(bin).copied().unwrap_or(0.0);
            Self {
                loss_tokens: count(&own.loss_tokens),
                clean_loss: sum(&own.clean_loss),
                sae_loss: sum(&own.sae_loss),
                zero_loss: sum(&own.zero_loss),
                activation_rows: count(&own.activation_rows),
                latents: count(&own.latents),
                squared_error: sum(&own.squared_error),
                squared_deviation: sum(&own.squared_deviation),
                ..Self::default()
            }
        })
    }

    /// Adds a kept token.
    pub fn add_activation(&mut self, terms: &RowTerms) {
        let (error, deviation) = (f64::from(terms.squared_error), f64::from(terms.squared_deviation));
        self.activation_rows += 1;
        self.latents += terms.latents as u64;
        self.l1 += f64::from(terms.l1);
        self.squared_error += error;
        self.squared_deviation += deviation;
        self.explained_variance += 1.0 - error / deviation;
        self.cosine_similarity += terms.cosine();
        self.l2_ratio += terms.norm_ratio();
        self.reconstruction_square += f64::from(terms.reconstruction_square);
        self.product += f64::from(terms.product);
    }

    /// Adds losses of the spliced run, at their positions.
    pub fn add_sae_losses(&mut self, positions: &[usize], losses: &[f32]) {
        self.loss_tokens += losses.len() as u64;
        self.sae_loss += total_loss(losses);
        self.positions.add_sae_losses(positions, losses);
    }
}

/// The sum of losses in float64.
pub fn total_loss(losses: &[f32]) -> f64 {
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
        for &(position, loss, norm) in tokens {
            sums.add_sae_losses(&[position], &[loss as f32]);
            let (squared_error, squared_deviation) = (loss as f32, norm as f32);
            let terms = RowTerms { latents: i64::from(norm), squared_error, squared_deviation, ..RowTerms::default() };
            sums.add_activation(position, &terms);
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
        let shapes = (0..1u32 << 20, -(1i32 << 20)..1 << 20, 0..1u32 << 20, 0..1u32 << 20, -(1i32 << 20)..1 << 20);
        let kl = option::of((0..1u64 << 40, 0..1u32 << 20, 0..1u32 << 20));
        let more = vec((0..5000usize, 0..1u32 << 10, 1u32..1 << 20), 0..5);
        (counts, losses, squares, shapes, kl, more).prop_map(|(counts, losses, squares, shapes, kl, more)| Sums {
            loss_tokens: counts.0,
            clean_loss: f64::from(losses.0),
            sae_loss: f64::from(losses.1),
            zero_loss: f64::from(losses.2),
            activation_rows: counts.1,
            outlier_rows: counts.2,
            non_finite_rows: counts.3,
            excluded_rows: counts.2,
            latents: counts.4,
            l1: f64::from(shapes.0),
            squared_error: f64::from(squares.0),
            squared_deviation: f64::from(squares.1),
            explained_variance: f64::from(squares.2),
            cosine_similarity: f64::from(shapes.1),
            l2_ratio: f64::from(shapes.2),
            reconstruction_square: f64::from(shapes.3),
            product: f64::from(shapes.4),
            kl: kl.map(|(tokens, kl, ablated)| KlSums { tokens, kl: kl.into(), kl_ablated: ablated.into() }),
            positions: positions(&more),
            norms: norms(&more),
        })
    }

    proptest! {
        /// Integers of this size add exactly, so every grouping gives the same sums.
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
        fn tokens_add_up_as_in_float64(
            rows in vec((0..50i64, 0f32..9.0, 0f32..100.0, 1f32..100.0, [1f32..9.0, 0.0..9.0, -9.0..9.0]), 0..50),
        ) {
            let rows: Vec<RowTerms> = rows.into_iter().map(|(latents, l1, error, deviation, products)| RowTerms {
                latents,
                l1,
                squared_error: error,
                squared_deviation: deviation,
                target_square: products[0],
                reconstruction_square: products[1],
                product: products[2],
            }).collect();
            let mut sums = Sums::default();
            for terms in &rows {
                sums.add_activation(terms);
            }
            let of = |term: fn(&RowTerms) -> f64| rows.iter().map(term).sum::<f64>();
            prop_assert_eq!(sums.activation_rows, rows.len() as u64);
            // The same additions in the same order give the same bits.
            let same = |got: f64, expected: f64| got.to_bits() == (expected + 0.0).to_bits();
            prop_assert!(same(sums.latents as f64, of(|row| row.latents as f64)));
            prop_assert!(same(sums.l1, of(|row| f64::from(row.l1))));
            prop_assert!(same(sums.squared_error, of(|row| f64::from(row.squared_error))));
            prop_assert!(same(sums.squared_deviation, of(|row| f64::from(row.squared_deviation))));
            let explained = |row: &RowTerms| 1.0 - f64::from(row.squared_error) / f64::from(row.squared_deviation);
            prop_assert!(same(sums.explained_variance, of(explained)));
            prop_assert!(same(sums.cosine_similarity, of(RowTerms::cosine)));
            prop_assert!(same(sums.l2_ratio, of(RowTerms::norm_ratio)));
            prop_assert!(same(sums.reconstruction_square, of(|row| f64::from(row.reconstruction_square))));
            prop_assert!(same(sums.product, of(|row| f64::from(row.product))));
        }
    }
}
