//! The experiment as a flat list of rows: `summary.json`.

use hayloft_results::Columns;
use hayloft_rows::{OutlierNorm, SectionChoice};
use serde::{Deserialize, Serialize};

use crate::experiment::entry::Entry;
use crate::experiment::left_out::LeftOut;
use crate::experiment::open::Report;
use crate::experiment::role::{ModelRole, SaeRole};

/// `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// One per SAE, model, dataset, section and treatment of outliers.
    pub rows: Vec<Row>,
    /// Contents of the experiment's files that the report does not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The dataset: `pile`, `alpaca`, or another name.
    pub dataset: String,
    /// The section.
    pub section: SectionChoice,
    /// The role of the SAE.
    pub sae: SaeRole,
    /// The role of the model.
    pub model: ModelRole,
    /// The family of the models.
    pub family: String,
    /// Whether activations with a large norm were left out.
    pub outliers_filtered: bool,
    /// The threshold above which they were left out, in scaled space.
    pub outlier_norm: Option<f64>,
    /// The same, unscaled.
    pub outlier_norm_raw: Option<f64>,
    /// The rule as requested.
    pub outlier_rule: Option<OutlierNorm>,
    /// The site in the model.
    pub site: String,
    /// c, the factor on the SAE's input.
    pub scale: f64,
    /// The metrics.
    #[serde(flatten)]
    pub columns: Columns,
    /// For a fine-tuned SAE: (its explained variance − the base SAE's) / (the chat SAE's − the base SAE's), if both
    /// have results on the same activations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_variance_gap_recovered: Option<f64>,
}

impl Report {
    /// All rows, in table order.
    pub fn summary(&self) -> Summary {
        let mut rows: Vec<Row> = self.entries.iter().map(row).collect();
        let families = self.families();
        let family = |row: &Row| families.iter().position(|family| *family == row.family);
        rows.sort_by_cached_key(|row| {
            let dataset = dataset_order(&row.dataset);
            (dataset, row.dataset.clone(), row.section, !row.outliers_filtered, family(row), row.model, row.sae)
        });
        let gaps: Vec<Option<f64>> = rows.iter().map(|row| gap_recovered(row, &rows)).collect();
        for (row, gap) in rows.iter_mut().zip(gaps) {
            row.explained_variance_gap_recovered = gap;
        }
        Summary { rows, left_out: self.left_out.clone() }
    }

    /// Families, in the experiment's order.
    pub(crate) fn families(&self) -> Vec<&str> {
        let mut families = Vec::new();
        for entry in &self.entries {
            if !families.contains(&entry.family.as_str()) {
                families.push(entry.family.as_str());
            }
        }
        families
    }
}

/// The study's datasets come first, in the study's order.
fn dataset_order(dataset: &str) -> usize {
    let known = ["pile", "alpaca"];
    known.iter().position(|name| *name == dataset).unwrap_or(known.len())
}

fn row(entry: &Entry) -> Row {
    let Entry { dataset, family, model, sae, result, .. } = entry;
    Row {
        dataset: dataset.clone(),
        section: result.section,
        sae: *sae,
        model: *model,
        family: family.clone(),
        outliers_filtered: result.outlier_norm.is_some(),
        outlier_norm: result.outlier_norm,
        outlier_norm_raw: result.outlier_norm_raw,
        outlier_rule: result.outlier_rule,
        site: result.site.clone(),
        scale: result.scale,
        columns: result.columns,
        explained_variance_gap_recovered: None,
    }
}

impl Row {
    /// Whether two rows belong to the same table.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        (&self.dataset, self.section, self.outliers_filtered)
            == (&other.dataset, other.section, other.outliers_filtered)
    }

    /// Whether two rows cover the same activations.
    pub(crate) fn is_about_same(&self, other: &Self) -> bool {
        self.is_beside(other) && (&self.family, self.model) == (&other.family, other.model)
    }
}

fn gap_recovered(row: &Row, rows: &[Row]) -> Option<f64> {
    if row.sae != SaeRole::Finetuned {
        return None;
    }
    let of = |role| rows.iter().find(|other| other.sae == role && other.is_about_same(row))?.columns.explained_variance;
    let (base, chat) = (of(SaeRole::Base)?, of(SaeRole::Chat)?);
    let recovered = (row.columns.explained_variance? - base) / (chat - base);
    recovered.is_finite().then_some(recovered)
}
