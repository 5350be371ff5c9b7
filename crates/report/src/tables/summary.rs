//! The experiment as a flat list of rows: `summary.json`.

use hayloft_results::{Columns, ComputeEffect, Intervals, StoredRounding, SubsetFigures};
use hayloft_rows::{OutlierNorm, SectionChoice};
use serde::{Deserialize, Serialize};

use crate::experiment::entry::Entry;
use crate::experiment::left_out::LeftOut;
use crate::experiment::open::Report;
use crate::experiment::study::{BASE, CHAT, FINETUNED};

/// `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// One per SAE, model, dataset, section and treatment of outliers.
    pub rows: Vec<Row>,
    /// Contents of the experiment's files that the report does not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A result of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The dataset: `pile`, `alpaca`, or another name.
    pub dataset: String,
    /// The section.
    pub section: SectionChoice,
    /// What the report calls the SAE; in the study its role.
    pub sae: String,
    /// What the report calls the model; in the study its role.
    pub model: String,
    /// The family of the models, of the study only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The curve that the SAE is a point of; not of the study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained_variance_gap_recovered: Option<f64>,
    /// KL(clean ‖ spliced), nats a token, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// The same under zero ablation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_ablated: Option<f64>,
    /// (KL ablated − KL) / KL ablated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_recovered: Option<f64>,
    /// How divergences were computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_method: Option<String>,
    /// Counts of latents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latents: Option<RowLatents>,
    /// 95 % intervals, and differences from another SAE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// Effect of a lower precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_effect: Option<ComputeEffect>,
    /// Effect of the stored activations' rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_rounding: Option<StoredRounding>,
    /// Metrics of each subset of the corpus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<SubsetFigures>,
}

/// Counts of an SAE's latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLatents {
    /// All of them.
    pub width: usize,
    /// Those that are above zero in no row.
    pub dead: Option<u64>,
    /// Those that are above zero in more than a tenth of the rows.
    pub dense: Option<u64>,
}

impl Report {
    /// All rows, in table order.
    pub fn summary(&self) -> Summary {
        Summary { rows: self.entries.iter().map(|entry| self.row(entry)).collect(), left_out: self.left_out.clone() }
    }

    fn row(&self, entry: &Entry) -> Row {
        let Entry { dataset, family, model, sae, series, result, .. } = entry;
        let kl = result.kl.as_ref();
        Row {
            dataset: dataset.key.clone(),
            section: result.section,
            sae: sae.key.clone(),
            model: model.key.clone(),
            family: family.as_ref().map(|family| family.key.clone()),
            series: family.is_none().then(|| series.key.clone()),
            outliers_filtered: entry.is_filtered(),
            outlier_norm: result.outlier_norm,
            outlier_norm_raw: result.outlier_norm_raw,
            outlier_rule: result.outlier_rule,
            site: result.site.clone(),
            scale: result.scale,
            columns: result.columns,
            explained_variance_gap_recovered: self.gap_recovered(entry),
            kl: kl.and_then(|kl| kl.kl),
            kl_ablated: kl.and_then(|kl| kl.kl_ablated),
            kl_recovered: kl.and_then(|kl| kl.kl_recovered),
            kl_method: kl.map(|kl| kl.method.name().to_owned()),
            latents: Some(RowLatents {
                width: result.provenance.sae.width,
                dead: result.latents.dead,
                dense: result.latents.dense,
            }),
            intervals: result.intervals.clone(),
            compute_effect: result.compute_effect.clone(),
            stored_rounding: result.stored_rounding,
            subsets: result.subsets.clone(),
        }
    }

    /// The share of the gap in explained variance between the base and the chat SAE that a fine-tuned SAE recovers.
    pub(crate) fn gap_recovered(&self, entry: &Entry) -> Option<f64> {
        if !self.experiment.is_study() || entry.sae.key != FINETUNED {
            return None;
        }
        let of = |role: &str| {
            let found = self.entries.iter().find(|other| other.sae.key == role && other.is_about_same(entry))?;
            found.result.columns.explained_variance
        };
        let (base, chat) = (of(BASE)?, of(CHAT)?);
        let recovered = (entry.result.columns.explained_variance? - base) / (chat - base);
        recovered.is_finite().then_some(recovered)
    }
}
