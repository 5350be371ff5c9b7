//! The order of results.

use std::cmp::Ordering;

use hayloft_results::{COLUMNS, Column};
use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Deserializer};

use crate::experiment::entry::Entry;

/// A column that SAEs are sorted by: the best first, and the least of one that is neither better high nor low.
#[derive(Debug, Clone, Copy)]
pub struct SortBy(&'static Column);

impl SortBy {
    /// Compares two results; undefined ones come last.
    fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let value = |entry: &Entry| self.0.value(&entry.result.columns, entry.result.kl.as_ref());
        match (value(one), value(other)) {
            (Some(one), Some(other)) if self.0.is_better_high() => other.total_cmp(&one),
            (Some(one), Some(other)) => one.total_cmp(&other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        }
    }
}

impl PartialEq for SortBy {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl<'de> Deserialize<'de> for SortBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let column = COLUMNS.iter().find(|column| column.name == name);
        column.map(Self).ok_or_else(|| {
            let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
            let near = did_you_mean(&name, &names);
            serde::de::Error::custom(format!("expected a column, one of {}, got {name}{near}", names.join(", ")))
        })
    }
}

/// Sorts results by dataset, section, treatment of outliers, model and site; then by a column, or by SAE.
pub(crate) fn sort(entries: &mut [Entry], by: Option<SortBy>) {
    entries.sort_by(|one, other| {
        let key = |entry: &Entry| {
            let Entry { dataset, family, model, site, result, .. } = entry;
            let place = (dataset.clone(), result.section, !entry.is_filtered());
            (place, family.clone(), model.clone(), site.clone())
        };
        let by_column = || by.map_or(Ordering::Equal, |by| by.compare(one, other));
        key(one).cmp(&key(other)).then_with(by_column).then_with(|| one.sae.cmp(&other.sae))
    });
}
