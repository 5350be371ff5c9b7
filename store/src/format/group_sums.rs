//! Sums over the tokens of each section and subset. With them, `store inspect` summarises a cache of any size without
//! reading its tables.
//!
//! They are f64 sums of the f32 values in `tokens.parquet`, in order of rows and shards, so that they can be recomputed
//! bit for bit.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use crate::format::records::Counts;
use crate::format::section::Section;
use crate::format::site::SiteName;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::tokens::Tokens;

/// Sums over the tokens of one section of one subset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSums {
    /// The section.
    pub section: Section,
    /// The subset; null for tokens without a subset.
    pub subset: Option<String>,
    /// Number of tokens.
    pub tokens: u64,
    /// Sums over the predictions; none if predictions are not stored.
    pub predictions: Option<PredictionSums>,
    /// Norms by site, in order of the sites.
    pub norms: Vec<NormSums>,
}

/// Sums over predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictionSums {
    /// Tokens that have a next token and a finite loss.
    pub losses: u64,
    /// Sum of these losses, in nats.
    pub loss: f64,
    /// Tokens with a finite entropy.
    pub entropies: u64,
    /// Sum of these entropies, in nats.
    pub entropy: f64,
}

/// Sums over the activation norms of a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormSums {
    /// The site.
    pub site: SiteName,
    /// Rows with a finite norm.
    pub rows: u64,
    /// Sum of these norms.
    pub norm: f64,
}

impl GroupSums {
    fn new(section: Section, subset: Option<&str>, predictions: bool, sites: &[SiteName]) -> Self {
        Self {
            section,
            subset: subset.map(str::to_owned),
            tokens: 0,
            predictions: predictions.then(PredictionSums::default),
            norms: sites.iter().map(|site| NormSums { site: site.clone(), rows: 0, norm: 0.0 }).collect(),
        }
    }

    fn add(&mut self, next: &Self) {
        // Saturating, because a record is untrusted.
        let count = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        count(&mut self.tokens, next.tokens);
        if let (Some(sums), Some(next)) = (&mut self.predictions, &next.predictions) {
            count(&mut sums.losses, next.losses);
            sums.loss += next.loss;
            count(&mut sums.entropies, next.entropies);
            sums.entropy += next.entropy;
        }
        for (sums, next) in self.norms.iter_mut().zip(&next.norms) {
            count(&mut sums.rows, next.rows);
            sums.norm += next.norm;
        }
    }
}

/// Computes the sums of a shard, sorted by section, then by subset. `norms` has `[rows]` for each site.
pub(crate) fn of_shard(
    tokens: &Tokens,
    predictions: Option<&Predictions>,
    sites: &[SiteName],
    norms: &[&[f32]],
) -> Vec<GroupSums> {
    let mut groups: BTreeMap<(Section, Option<&str>), GroupSums> = BTreeMap::new();
    for row in 0..tokens.len() {
        let (section, subset) = (tokens.section[row], tokens.subset[row].as_deref());
        let group = groups
            .entry((section, subset))
            .or_insert_with(|| GroupSums::new(section, subset, predictions.is_some(), sites));
        group.tokens += 1;
        if let (Some(sums), Some(predictions)) = (&mut group.predictions, predictions) {
            // The last token of a sequence has no loss.
            if tokens.sequence.get(row + 1) == Some(&tokens.sequence[row]) {
                add_finite(predictions.loss[row], &mut sums.losses, &mut sums.loss);
            }
            add_finite(predictions.entropy[row], &mut sums.entropies, &mut sums.entropy);
        }
        for (sums, norms) in group.norms.iter_mut().zip(norms) {
            add_finite(norms[row], &mut sums.rows, &mut sums.norm);
        }
    }
    groups.into_values().collect()
}

fn add_finite(value: f32, count: &mut u64, sum: &mut f64) {
    if value.is_finite() {
        *count += 1;
        *sum += f64::from(value);
    }
}

/// Adds the sums of the next shard.
pub(crate) fn with_next(sums: &[GroupSums], next: &[GroupSums]) -> Vec<GroupSums> {
    summed_by(sums.iter().chain(next), |group| (group.section, group.subset.clone()))
}

/// Merges groups that have the same key, sorted by key. Each result has the section and subset of its first group.
pub(crate) fn summed_by<'a, K: Ord>(
    groups: impl IntoIterator<Item = &'a GroupSums>,
    key: impl Fn(&GroupSums) -> K,
) -> Vec<GroupSums> {
    let mut sums: BTreeMap<K, GroupSums> = BTreeMap::new();
    for group in groups {
        match sums.entry(key(group)) {
            Entry::Occupied(mut sum) => sum.get_mut().add(group),
            Entry::Vacant(place) => drop(place.insert(group.clone())),
        }
    }
    sums.into_values().collect()
}

/// Returns whether a shard's sums match its token counts and sites.
pub(crate) fn fit(groups: &[GroupSums], counts: &Counts, sites: &[SiteName], predictions: bool) -> bool {
    let mut sections: BTreeMap<Section, u64> = BTreeMap::new();
    for group in groups {
        let tokens = sections.entry(group.section).or_default();
        *tokens = tokens.saturating_add(group.tokens);
    }
    let of_sites = |group: &GroupSums| group.norms.iter().map(|norms| &norms.site).eq(sites);
    sections == counts.sections
        && groups.iter().all(|group| of_sites(group) && group.predictions.is_some() == predictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_hostile_records_are_added_up_without_overflow() {
        let group = GroupSums {
            tokens: u64::MAX,
            predictions: Some(PredictionSums { losses: u64::MAX, entropies: u64::MAX, ..PredictionSums::default() }),
            ..GroupSums::new(Section::Text, None, true, &[])
        };
        let sums = summed_by([&group, &group], |group| group.section);
        assert_eq!(sums, [group]);
    }
    use crate::support::{lengths, shard_data, two_sites};

    fn predictions(rows: usize) -> Predictions {
        let mut loss: Vec<f32> = (0..rows).map(|row| row as f32).collect();
        loss[0] = f32::INFINITY;
        Predictions { loss, entropy: vec![0.5; rows], ..Predictions::default() }
    }

    #[test]
    fn every_token_is_in_its_group_and_nan_in_no_sum() {
        let (_, tokens) = shard_data(&lengths(), 0);
        let rows = tokens.len();
        let mut norms = vec![2.0; rows];
        norms[0] = f32::INFINITY;
        let sites = two_sites();
        let groups = of_shard(&tokens, Some(&predictions(rows)), &sites, &[&norms, &norms]);
        assert_eq!(groups.iter().map(|group| group.tokens).sum::<u64>(), rows as u64);
        let sums: Vec<_> = groups.iter().filter_map(|group| group.predictions).collect();
        let losses: f64 = sums.iter().map(|sums| sums.loss).sum();
        // The last token of a sequence has no loss, even if the table has a value.
        let has_next = |&row: &usize| row > 0 && tokens.position[row + 1] > 0;
        let expected: Vec<usize> = (0..rows - 1).filter(has_next).collect();
        assert!(expected.len() < rows - 2, "several sequences");
        assert!((losses - expected.iter().sum::<usize>() as f64).abs() < 1e-9);
        assert_eq!(sums.iter().map(|sums| sums.losses).sum::<u64>(), expected.len() as u64);
        assert_eq!(groups.iter().map(|group| group.norms[1].rows).sum::<u64>(), rows as u64 - 1);
        let order: Vec<_> = groups.iter().map(|group| (group.section, group.subset.clone())).collect();
        assert!(order.is_sorted() && order.len() > 3, "{order:?}");
        assert!(fit(&groups, &tokens.counts(5), &sites, true));
        assert!(!fit(&groups, &tokens.counts(5), &sites[..1], true));
        assert!(!fit(&groups[1..], &tokens.counts(5), &sites, true));
    }

    #[test]
    fn shards_add_up() {
        let of = |shard| {
            let (_, tokens) = shard_data(&lengths(), shard);
            of_shard(&tokens, None, &two_sites(), &[&vec![1.0; tokens.len()], &vec![3.0; tokens.len()]])
        };
        let (first, second) = (of(0), of(1));
        let both = with_next(&with_next(&[], &first), &second);
        let norm = |groups: &[GroupSums]| groups.iter().map(|group| group.norms[1].norm).sum::<f64>();
        assert!((norm(&both) - norm(&first) - norm(&second)).abs() < 1e-9);
    }
}
