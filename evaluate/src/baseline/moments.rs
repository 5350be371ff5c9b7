//! Count and sum of activations.

use std::borrow::Cow;

use hayloft_rows::{OutlierRule, SectionChoice};
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError};

use super::shard_sums::{Key, ShardSums};
use crate::data::batch::{Activations, Batch, rows_at};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MomentsKey {
    pub(super) site: String,
    pub(super) section: SectionChoice,
    /// Rows with a larger norm, before scaling, are left out.
    pub(super) largest_norm: Option<f64>,
    /// Ids of the tokens that are left out.
    pub(super) excluded: Vec<u32>,
}

impl Key for MomentsKey {
    fn file_stem(&self) -> String {
        let norm = self.largest_norm.map_or_else(|| "any".to_owned(), |norm| format!("{norm:e}"));
        let left_out: String =
            self.excluded.iter().flat_map(|token| [".without-".to_owned(), token.to_string()]).collect();
        format!("moments.{}.{}.norm-{norm}{left_out}", self.site, self.section)
    }
}

/// Moments of the unscaled activations of one section over one shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Moments {
    /// The shard's number in the plan.
    pub(crate) shard: usize,
    pub(crate) rows: u64,
    /// Rows left out because the norm is above the threshold or not finite.
    pub(crate) outlier_rows: u64,
    /// Those of them that are NaN or infinite.
    pub(crate) non_finite_rows: u64,
    /// Rows left out because of their token.
    pub(crate) excluded_rows: u64,
    /// `[width]`: the sum over the remaining rows, float64.
    pub(crate) sum: Vec<f64>,
}

impl ShardSums for Moments {
    const COUNTS: &'static [&'static str] = &["shard", "rows", "outlier_rows", "non_finite_rows", "excluded_rows"];
    const LISTS: &'static [&'static str] = &["sum"];

    fn counts(&self) -> Vec<u64> {
        vec![self.shard as u64, self.rows, self.outlier_rows, self.non_finite_rows, self.excluded_rows]
    }

    fn lists(&self) -> Vec<Cow<'_, [f64]>> {
        vec![self.sum.as_slice().into()]
    }

    fn of(counts: &[u64], lists: Vec<Vec<f64>>, _: &[Option<String>]) -> Option<Self> {
        let &[shard, rows, outlier_rows, non_finite_rows, excluded_rows] = counts else { return None };
        let [sum] = lists.try_into().ok()?;
        Some(Self { shard: usize::try_from(shard).ok()?, rows, outlier_rows, non_finite_rows, excluded_rows, sum })
    }
}

impl Moments {
    pub(super) fn new(shard: usize, d_model: usize) -> Self {
        Self { shard, sum: vec![0.0; d_model], ..Self::default() }
    }

    /// Adds the rows of a batch that are in the section.
    pub(super) fn add(
        &mut self,
        batch: &Batch,
        activations: &Activations,
        norms: &[f64],
        section: SectionChoice,
        rule: OutlierRule,
    ) -> Result<(), TchError> {
        let (kept, left) = batch.kept(section, norms, rule);
        self.outlier_rows += left.outliers;
        self.non_finite_rows += left.non_finite;
        self.excluded_rows += left.excluded;
        if kept.is_empty() {
            return Ok(());
        }
        let sum = rows_at(&activations.target, &kept)?.f_to_kind(Kind::Double)?.f_sum_dim_intlist(
            [0i64].as_slice(),
            false,
            Kind::Double,
        )?;
        for (total, value) in self.sum.iter_mut().zip(Vec::<f64>::try_from(sum)?) {
            *total += value;
        }
        self.rows += kept.len() as u64;
        Ok(())
    }

    /// Adds the sums of the following rows.
    pub(super) fn merge(&mut self, next: &Self) {
        self.rows += next.rows;
        self.outlier_rows += next.outlier_rows;
        self.non_finite_rows += next.non_finite_rows;
        self.excluded_rows += next.excluded_rows;
        for (sum, value) in self.sum.iter_mut().zip(&next.sum) {
            *sum += value;
        }
    }

    /// The mean `[width]` over shards, accumulated in their order; zeros if there are no rows.
    pub(crate) fn mean(shards: &[Self]) -> Vec<f64> {
        let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
        let width = shards.first().map_or(0, |shard| shard.sum.len());
        let mut mean = vec![0.0; width];
        for shard in shards {
            for (total, value) in mean.iter_mut().zip(&shard.sum) {
                *total += value;
            }
        }
        for value in &mut mean {
            *value /= rows.max(1) as f64;
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_rows_and_not_over_shards() {
        let shard = |rows, sum: [f64; 2]| Moments { rows, sum: sum.to_vec(), ..Moments::default() };
        assert_eq!(Moments::mean(&[shard(1, [1.0, 2.0]), shard(3, [3.0, 6.0])]), [1.0, 2.0]);
        assert_eq!(Moments::mean(&[shard(0, [0.0, 0.0])]), [0.0, 0.0]);
    }

    #[test]
    fn every_threshold_has_a_file_of_its_own() {
        let stem = |largest_norm| {
            let site = "blocks.3.hook_resid_pre".to_owned();
            MomentsKey { site, section: SectionChoice::All, largest_norm, excluded: Vec::new() }.file_stem()
        };
        assert_eq!(stem(None), "moments.blocks.3.hook_resid_pre.all.norm-any");
        assert_eq!(stem(Some(10.0)), "moments.blocks.3.hook_resid_pre.all.norm-1e1");
        assert_ne!(stem(Some(17.275_484_123)), stem(Some(17.275_484_124)));
    }
}
