//! Figures of each subset of the corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use hayloft_store::Cache;
use serde::{Deserialize, Serialize};

use crate::EvaluateError;
use crate::columns::Columns;
use crate::tally::{SequenceTally, Tally};

/// The figures of one subset of the corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubsetFigures {
    /// Its name; `None` for sequences of documents without one.
    pub subset: Option<String>,
    /// Its sequences with a token in the section.
    pub sequences: usize,
    /// The figures; x̄ is that of the whole section.
    #[serde(flatten)]
    pub columns: SubsetColumns,
}

/// The columns but for counts of outliers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub struct SubsetColumns {
    pub l0: Option<f64>,
    pub ce_recovered: Option<f64>,
    pub ce_clean: Option<f64>,
    pub ce_sae: Option<f64>,
    pub ce_delta: Option<f64>,
    pub ce_zero: Option<f64>,
    pub explained_variance: Option<f64>,
    pub explained_variance_pooled: Option<f64>,
    pub mse: Option<f64>,
    pub cosine_similarity: Option<f64>,
    pub l2_ratio: Option<f64>,
    pub loss_tokens: u64,
    pub activation_rows: u64,
}

impl From<Columns> for SubsetColumns {
    fn from(columns: Columns) -> Self {
        Self {
            l0: columns.l0,
            ce_recovered: columns.ce_recovered,
            ce_clean: columns.ce_clean,
            ce_sae: columns.ce_sae,
            ce_delta: columns.ce_delta,
            ce_zero: columns.ce_zero,
            explained_variance: columns.explained_variance,
            explained_variance_pooled: columns.explained_variance_pooled,
            mse: columns.mse,
            cosine_similarity: columns.cosine_similarity,
            l2_ratio: columns.l2_ratio,
            loss_tokens: columns.loss_tokens,
            activation_rows: columns.activation_rows,
        }
    }
}

/// The name of a sequence's subset, which many sequences share.
pub(crate) type SubsetName = Option<Arc<str>>;

/// The subset of each sequence of each shard at these places of a cache, in the order in which batches have them.
pub(crate) fn subsets_of(cache: &Cache, places: Range<usize>) -> Result<Vec<Vec<SubsetName>>, EvaluateError> {
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut subsets = Vec::with_capacity(places.len());
    for place in places {
        let mut sequences = cache.shard(place)?.sequences().to_vec();
        sequences.sort_by_key(|sequence| sequence.row_group);
        let mut shared = |name: String| {
            let known = names.get(name.as_str()).cloned();
            known.unwrap_or_else(|| {
                let name: Arc<str> = name.into();
                names.insert(Arc::clone(&name));
                name
            })
        };
        subsets.push(sequences.into_iter().map(|sequence| sequence.subset.map(&mut shared)).collect());
    }
    Ok(subsets)
}

/// The figures of each subset, by name, those without one first; `subsets` is that of each sequence.
pub(crate) fn by_subset<'run>(
    subsets: impl IntoIterator<Item = &'run SubsetName>,
    sequences: &[SequenceTally],
    scale: f64,
) -> Vec<SubsetFigures> {
    let mut totals: BTreeMap<&SubsetName, (usize, Tally)> = BTreeMap::new();
    for (subset, tally) in subsets.into_iter().zip(sequences).filter(|(_, tally)| tally.is_used()) {
        let (count, total) = totals.entry(subset).or_default();
        *count += 1;
        total.add(tally, 1.0);
    }
    let figures = |(subset, (sequences, total)): (&SubsetName, (usize, Tally))| SubsetFigures {
        subset: subset.as_deref().map(str::to_owned),
        sequences,
        columns: total.columns(scale).into(),
    };
    totals.into_iter().map(figures).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::tests::sequence;

    #[test]
    fn each_subset_has_the_figures_of_its_sequences() {
        let subsets = [Some("web".into()), None, Some("web".into()), Some("law".into())];
        let sequences =
            [sequence(4.0, 12.0, 8.0), sequence(2.0, 6.0, 2.0), sequence(6.0, 8.0, 2.0), SequenceTally::default()];
        let found = by_subset(&subsets, &sequences, 1.0);
        let short: Vec<_> = found
            .iter()
            .map(|own| {
                (own.subset.as_deref(), own.sequences, own.columns.ce_sae, own.columns.mse, own.columns.loss_tokens)
            })
            .collect();
        // No sequence of "law" has a token in the section.
        assert_eq!(short, [(None, 1, Some(3.0), Some(1.0), 2), (Some("web"), 2, Some(2.0), Some(1.0), 10)]);
    }
}
