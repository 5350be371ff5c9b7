//! Metrics of each subset of the corpus.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Map;

use crate::columns::{BrokenDown, COLUMNS, Column, Columns};
use crate::subsets::by_subset::BySubset;
use crate::sums::Sums;

/// Metrics of one subset: over its tokens, also where sequences mix subsets. A loss belongs to the predicting token, an
/// activation to its token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubsetFigures {
    /// Name of the subset; `None` for documents without one.
    pub subset: Option<String>,
    /// Sequences with a token of the subset in the section. A sequence that mixes subsets counts in each.
    pub sequences: usize,
    /// The metrics; x̄ is the mean over the whole section. Files hold those that subsets have; outliers are not counted.
    #[serde(flatten, serialize_with = "write_columns", deserialize_with = "read_columns")]
    pub columns: Columns,
}

/// Writes the columns that subsets have: metrics, then counts.
fn write_columns<S: Serializer>(columns: &Columns, serializer: S) -> Result<S::Ok, S::Error> {
    let written = COLUMNS.iter().filter(|column| column.broken_down != BrokenDown::No);
    let (metrics, counts): (Vec<&Column>, Vec<&Column>) = written.partition(|column| column.depends_on.is_some());
    serializer.collect_map(metrics.into_iter().chain(counts).map(|column| (column.name, column.exact(columns, None))))
}

/// Reads the columns that subsets have.
fn read_columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
    let mut fields = Map::deserialize(deserializer)?;
    fields.insert("outlier_rows".to_owned(), 0.into());
    serde_json::from_value(fields.into()).map_err(D::Error::custom)
}

/// Sums over one subset's tokens in one shard, for one SAE and one section.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsetSums {
    /// Sequences with a token in these sums.
    pub sequences: u64,
    /// The sums, without counts of left-out rows, positions and norms.
    pub sums: Sums,
}

/// Computes the metrics of each subset from its sums in each shard.
pub fn subset_figures(shards: &[BySubset<SubsetSums>], scale: f64) -> Vec<SubsetFigures> {
    let mut totals: BySubset<SubsetSums> = BySubset::default();
    for (subset, own) in shards.iter().flat_map(BySubset::iter) {
        let total = totals.entry(subset);
        total.sequences += own.sequences;
        total.sums.merge(&own.sums);
    }
    let figures = |(subset, SubsetSums { sequences, sums }): (Option<&str>, &SubsetSums)| SubsetFigures {
        subset: subset.map(str::to_owned),
        sequences: *sequences as usize,
        columns: Columns::of(sums, scale),
    };
    totals.iter().map(figures).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subset_has_the_figures_of_its_sums_in_all_shards() {
        let sums = |tokens: u64, sae_loss: f64, squared_error: f64| SubsetSums {
            sequences: 1,
            sums: Sums { loss_tokens: tokens, activation_rows: tokens, sae_loss, squared_error, ..Sums::default() },
        };
        let mut shards = [BySubset::default(), BySubset::default()];
        *shards[0].entry(Some("web")) = sums(4, 12.0, 8.0);
        *shards[1].entry(Some("web")) = sums(6, 8.0, 2.0);
        *shards[1].entry(None) = sums(2, 6.0, 2.0);
        let found = subset_figures(&shards, 1.0);
        let short: Vec<_> = found
            .iter()
            .map(|own| {
                (own.subset.as_deref(), own.sequences, own.columns.ce_sae, own.columns.mse, own.columns.loss_tokens)
            })
            .collect();
        assert_eq!(short, [(None, 1, Some(3.0), Some(1.0), 2), (Some("web"), 2, Some(2.0), Some(1.0), 10)]);
    }
}
