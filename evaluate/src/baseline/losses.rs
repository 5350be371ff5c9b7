//! Losses of the clean and the zero-ablated run.

use std::borrow::Cow;
use std::slice;

use hayloft_results::{BinSums, BySubset, CleanSource, position_bin, total_loss};
use hayloft_rows::SectionChoice;
use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use super::shard_sums::{Key, ShardSums};
use crate::data::batch::Batch;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LossesKey {
    pub(super) site: String,
    pub(super) section: SectionChoice,
    pub(super) precision: Dtype,
    pub(super) clean_source: CleanSource,
}

impl Key for LossesKey {
    fn file_stem(&self) -> String {
        format!("losses.{}.{}.{}.{}", self.site, self.section, self.precision, self.clean_source)
    }
}

/// Losses over one shard, summed in float64 in row order; nats.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Losses {
    /// The shard's number in the plan.
    pub(crate) shard: usize,
    /// Tokens of the section that have a next token.
    pub(crate) loss_tokens: u64,
    /// Sum over the clean run.
    pub(crate) clean_loss: f64,
    /// Sum with zeros in place of the section's activations.
    pub(crate) zero_loss: f64,
    pub(crate) clean_by_position: BinSums,
    pub(crate) zero_by_position: BinSums,
    pub(crate) clean_by_sequence: BinSums,
    pub(crate) zero_by_sequence: BinSums,
    /// Both losses of each subset that has tokens with a next token.
    pub(crate) by_subset: BySubset<SubsetLosses>,
}

/// Losses over the tokens of one subset in one shard; nats.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct SubsetLosses {
    /// Sum over the clean run.
    pub(crate) clean_loss: f64,
    /// Sum with zeros in place of the section's activations.
    pub(crate) zero_loss: f64,
}

impl Losses {
    /// Adds the losses at the next batch's rows with a next token.
    pub(super) fn add(&mut self, batch: &Batch, rows: &[i64], clean: &[f32], zero: &[f32]) {
        let positions = batch.positions_at(rows);
        let by_sequence = |losses: &[f32]| batch.sums_by_sequence(rows, losses.iter().map(|&loss| f64::from(loss)));
        self.clean_by_sequence.extend(by_sequence(clean));
        self.zero_by_sequence.extend(by_sequence(zero));
        self.loss_tokens += positions.len() as u64;
        self.clean_loss += total_loss(clean);
        self.zero_loss += total_loss(zero);
        for ((&position, &clean), &zero) in positions.iter().zip(clean).zip(zero) {
            let bin = position_bin(position);
            self.clean_by_position.add(bin, f64::from(clean));
            self.zero_by_position.add(bin, f64::from(zero));
        }
        for (subset, places) in batch.subsets.split(rows).filter(|(_, places)| !places.is_empty()) {
            let sums = self.by_subset.entry(subset);
            for place in places {
                sums.clean_loss += f64::from(clean[place]);
                sums.zero_loss += f64::from(zero[place]);
            }
        }
    }
}

impl ShardSums for Losses {
    const COUNTS: &'static [&'static str] = &["shard", "loss_tokens"];
    const LISTS: &'static [&'static str] = &[
        "clean_loss",
        "zero_loss",
        "clean_by_position",
        "zero_by_position",
        "clean_by_sequence",
        "zero_by_sequence",
        "clean_by_subset",
        "zero_by_subset",
    ];

    fn counts(&self) -> Vec<u64> {
        vec![self.shard as u64, self.loss_tokens]
    }

    fn lists(&self) -> Vec<Cow<'_, [f64]>> {
        let by_subset = |losses: fn(&SubsetLosses) -> f64| self.by_subset.iter().map(|(_, own)| losses(own)).collect();
        vec![
            slice::from_ref(&self.clean_loss).into(),
            slice::from_ref(&self.zero_loss).into(),
            self.clean_by_position.values().into(),
            self.zero_by_position.values().into(),
            self.clean_by_sequence.values().into(),
            self.zero_by_sequence.values().into(),
            by_subset(|own| own.clean_loss),
            by_subset(|own| own.zero_loss),
        ]
    }

    fn subsets(&self) -> Vec<Option<&str>> {
        self.by_subset.iter().map(|(name, _)| name).collect()
    }

    fn of(counts: &[u64], lists: Vec<Vec<f64>>, subsets: &[Option<String>]) -> Option<Self> {
        let &[shard, loss_tokens] = counts else { return None };
        let [clean, zero, clean_by_position, zero_by_position, clean_by_sequence, zero_by_sequence, clean_by, zero_by] =
            lists.try_into().ok()?;
        let (&[clean_loss], &[zero_loss]) = (clean.as_slice(), zero.as_slice()) else { return None };
        if clean_by.len() != subsets.len() || zero_by.len() != subsets.len() {
            return None;
        }
        let mut by_subset = BySubset::default();
        for ((name, clean_loss), zero_loss) in subsets.iter().zip(clean_by).zip(zero_by) {
            *by_subset.entry(name.as_deref()) = SubsetLosses { clean_loss, zero_loss };
        }
        Some(Self {
            shard: usize::try_from(shard).ok()?,
            loss_tokens,
            clean_loss,
            zero_loss,
            clean_by_position: BinSums::of(clean_by_position),
            zero_by_position: BinSums::of(zero_by_position),
            clean_by_sequence: BinSums::of(clean_by_sequence),
            zero_by_sequence: BinSums::of(zero_by_sequence),
            by_subset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_by_subset_comes_back() {
        let mut losses = Losses { shard: 3, loss_tokens: 5, clean_loss: 1.5, zero_loss: 2.5, ..Losses::default() };
        for (name, clean_loss) in [(Some("web"), 0.1 + 0.2), (None, f64::MIN_POSITIVE), (Some("law"), 0.0)] {
            *losses.by_subset.entry(name) = SubsetLosses { clean_loss, zero_loss: clean_loss * 3.0 };
        }
        let lists = || losses.lists().into_iter().map(Cow::into_owned).collect();
        let names: Vec<Option<String>> = losses.subsets().into_iter().map(|name| name.map(str::to_owned)).collect();
        assert_eq!(Losses::of(&losses.counts(), lists(), &names), Some(losses.clone()));
        assert_eq!(Losses::of(&losses.counts(), lists(), &names[1..]), None);
    }
}
