//! A table as CSV, at full precision.

use hayloft_results::{COLUMNS, Column, ColumnTable, ColumnValue};

use crate::tables::summary::Row;
use crate::tables::table::Table;

impl Table {
    /// Renders CSV with a header line: each row's keys and its metrics as fractions. Undefined metrics are empty.
    pub(crate) fn csv(&self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        let is_written = |column: &&Column| matches!(column.table, ColumnTable::Main | ColumnTable::Supporting);
        let columns: Vec<&Column> = COLUMNS.iter().filter(is_written).collect();
        let header = ["family", "sae", "model", "dataset", "section", "outliers_filtered"].into_iter();
        let header = header.chain(columns.iter().map(|column| column.name));
        let header = header.chain(["explained_variance_gap_recovered", "outlier_norm"]);
        writer.write_record(header.chain(["outlier_norm_raw", "outlier_rule"]))?;
        for row in self.rows.iter().map(|row| &row.source) {
            let Row { family, dataset, outliers_filtered, outlier_norm, outlier_norm_raw, outlier_rule, .. } = row;
            let (sae, model, section) = (row.sae.to_string(), row.model.to_string(), row.section.to_string());
            let values: Vec<ColumnValue> = columns.iter().map(|column| column.exact(&row.columns, None)).collect();
            writer.serialize((
                (family, sae, model, dataset, section, outliers_filtered, values),
                (row.explained_variance_gap_recovered, outlier_norm, outlier_norm_raw, outlier_rule),
            ))?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}
