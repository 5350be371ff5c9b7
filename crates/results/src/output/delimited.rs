//! Results as CSV, at full precision.

use hayloft_rows::{OutlierNorm, ScaleSource};
use serde::Serialize;

use crate::columns::Columns;
use crate::results::{Results, SaeResult};

/// One line. Undefined metrics are empty.
#[derive(Serialize)]
struct Line<'result> {
    sae: &'result str,
    section: String,
    site: &'result str,
    l0: Option<f64>,
    ce_recovered: Option<f64>,
    ce_clean: Option<f64>,
    ce_sae: Option<f64>,
    ce_delta: Option<f64>,
    ce_zero: Option<f64>,
    explained_variance: Option<f64>,
    explained_variance_pooled: Option<f64>,
    mse: Option<f64>,
    mse_raw: Option<f64>,
    loss_tokens: u64,
    activation_rows: u64,
    outlier_rows: u64,
    scale: f64,
    outlier_norm: Option<f64>,
    precision: String,
    manifest_blake3: &'result str,
    kl: Option<f64>,
    kl_ablated: Option<f64>,
    kl_recovered: Option<f64>,
    kl_way: Option<String>,
    cosine_similarity: Option<f64>,
    l2_ratio: Option<f64>,
    l1: Option<f64>,
    relative_reconstruction_bias: Option<f64>,
    outlier_norm_raw: Option<f64>,
    outlier_rule: Option<OutlierNorm>,
    scale_source: ScaleSource,
}

impl<'result> From<&'result SaeResult> for Line<'result> {
    fn from(result: &'result SaeResult) -> Self {
        let Columns {
            l0,
            ce_recovered,
            ce_clean,
            ce_sae,
            ce_delta,
            ce_zero,
            explained_variance,
            explained_variance_pooled,
            mse,
            mse_raw,
            loss_tokens,
            activation_rows,
            outlier_rows,
            cosine_similarity,
            l2_ratio,
            l1,
            relative_reconstruction_bias,
        } = result.columns;
        Self {
            sae: &result.sae,
            section: result.section.to_string(),
            site: &result.site,
            l0,
            ce_recovered,
            ce_clean,
            ce_sae,
            ce_delta,
            ce_zero,
            explained_variance,
            explained_variance_pooled,
            mse,
            mse_raw,
            loss_tokens,
            activation_rows,
            outlier_rows,
            scale: result.scale,
            outlier_norm: result.outlier_norm,
            precision: result.precision.to_string(),
            manifest_blake3: &result.provenance.manifest_blake3,
            kl: result.kl.and_then(|own| own.kl),
            kl_ablated: result.kl.and_then(|own| own.kl_ablated),
            kl_recovered: result.kl.and_then(|own| own.kl_recovered),
            kl_way: result.kl.map(|own| own.label()),
            cosine_similarity,
            l2_ratio,
            l1,
            relative_reconstruction_bias,
            outlier_norm_raw: result.outlier_norm_raw,
            outlier_rule: result.outlier_rule,
            scale_source: result.scale_source,
        }
    }
}

impl Results {
    /// Renders the results as CSV with a header line.
    pub fn csv(&self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for result in &self.results {
            writer.serialize(Line::from(result))?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}
