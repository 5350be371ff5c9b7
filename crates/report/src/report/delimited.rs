//! A table as CSV, at full precision.

use hayloft_rows::OutlierNorm;
use serde::Serialize;

use super::rows::Row;
use super::tables::Table;

/// One line: the row's keys and its metrics as fractions. Undefined metrics are empty.
#[derive(Serialize)]
struct Line<'row> {
    family: &'row str,
    sae: String,
    model: String,
    dataset: &'row str,
    section: String,
    outliers_filtered: bool,
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
    explained_variance_gap_recovered: Option<f64>,
    outlier_norm: Option<f64>,
    outlier_norm_raw: Option<f64>,
    outlier_rule: Option<OutlierNorm>,
}

impl<'row> From<&'row Row> for Line<'row> {
    fn from(row: &'row Row) -> Self {
        let columns = &row.columns;
        Self {
            family: &row.family,
            sae: row.sae.to_string(),
            model: row.model.to_string(),
            dataset: &row.dataset,
            section: row.section.to_string(),
            outliers_filtered: row.outliers_filtered,
            l0: columns.l0,
            ce_recovered: columns.ce_recovered,
            ce_clean: columns.ce_clean,
            ce_sae: columns.ce_sae,
            ce_delta: columns.ce_delta,
            ce_zero: columns.ce_zero,
            explained_variance: columns.explained_variance,
            explained_variance_pooled: columns.explained_variance_pooled,
            mse: columns.mse,
            mse_raw: columns.mse_raw,
            loss_tokens: columns.loss_tokens,
            activation_rows: columns.activation_rows,
            outlier_rows: columns.outlier_rows,
            explained_variance_gap_recovered: row.explained_variance_gap_recovered,
            outlier_norm: row.outlier_norm,
            outlier_norm_raw: row.outlier_norm_raw,
            outlier_rule: row.outlier_rule,
        }
    }
}

impl Table {
    /// Renders CSV with a header line.
    pub(super) fn csv(&self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in &self.rows {
            writer.serialize(Line::from(&row.source))?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}
