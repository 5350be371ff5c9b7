//! Results as CSV, at full precision.

use crate::columns::{COLUMNS, Column, ColumnTable, ColumnValue};
use crate::results::{Results, SaeResult};

/// The columns of a CSV file, in three groups with other fields between them.
fn groups() -> [Vec<&'static Column>; 3] {
    let of = |tables: [ColumnTable; 2]| COLUMNS.iter().filter(|column| tables.contains(&column.table)).collect();
    [
        of([ColumnTable::Main, ColumnTable::Supporting]),
        of([ColumnTable::Divergences; 2]),
        of([ColumnTable::Reconstructions, ColumnTable::Latents]),
    ]
}

impl Results {
    /// Renders the results as CSV with a header line. Undefined metrics are empty.
    pub fn csv(&self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        let groups = groups();
        let [first, divergences, last] = groups.each_ref().map(|group| group.iter().map(|column| column.name));
        let header = ["sae", "section", "site"].into_iter().chain(first);
        let header = header.chain(["scale", "outlier_norm", "precision", "manifest_blake3"]).chain(divergences);
        let header = header.chain(["kl_method"]).chain(last);
        writer.write_record(header.chain(["outlier_norm_raw", "outlier_rule", "scale_source"]))?;
        for result in &self.results {
            let SaeResult { sae, section, site, scale, outlier_norm, outlier_norm_raw, outlier_rule, .. } = result;
            let values = |group: &Vec<&Column>| -> Vec<ColumnValue> {
                group.iter().map(|column| column.exact(&result.columns, result.kl.as_ref())).collect()
            };
            let [first, divergences, last] = groups.each_ref().map(values);
            let precision = result.precision.to_string();
            writer.serialize((
                (sae, section.to_string(), site, first),
                (scale, outlier_norm, precision, &result.provenance.manifest_blake3, divergences),
                (result.kl.map(|kl| kl.label()), last),
                (outlier_norm_raw, outlier_rule, result.scale_source),
            ))?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}
