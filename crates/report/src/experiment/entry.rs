//! One result of an experiment.

use std::path::PathBuf;

use hayloft_results::{Interval, SaeResult};

use crate::experiment::name::Name;

/// One result, and what the experiment calls it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) dataset: Name,
    /// Of the study's preset only.
    pub(crate) family: Option<Name>,
    pub(crate) model: Name,
    pub(crate) site: Name,
    pub(crate) sae: Name,
    /// The curve that it is a point of.
    pub(crate) series: Name,
    pub(crate) result: SaeResult,
    /// The file that contains the result.
    pub(crate) file: PathBuf,
}

impl Entry {
    /// Whether activations with a large norm were left out.
    pub(crate) fn is_filtered(&self) -> bool {
        self.result.outlier_norm.is_some()
    }

    /// Whether two results belong to the same table.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        (&self.dataset, self.result.section, self.is_filtered())
            == (&other.dataset, other.result.section, other.is_filtered())
    }

    /// Whether two results cover the same activations.
    pub(crate) fn is_about_same(&self, other: &Self) -> bool {
        let key = |entry: &Self| (entry.family.clone(), entry.model.clone(), entry.site.clone());
        self.is_beside(other) && key(self) == key(other)
    }

    /// The model, of its family if it has one.
    pub(crate) fn model_in_words(&self) -> String {
        match &self.family {
            Some(family) => format!("{}'s {}", family.label, self.model.label),
            None => self.model.label.clone(),
        }
    }

    /// The interval of a metric, by its name.
    pub(crate) fn interval(&self, column: &str) -> Option<Interval> {
        self.result.intervals.as_ref()?.figures.get(column).copied()
    }
}
