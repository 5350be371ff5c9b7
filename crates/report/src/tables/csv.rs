//! A table as CSV, at full precision.

use crate::tables::table::Table;

impl Table {
    /// Renders CSV with a header line: each row's keys and its figures. Undefined figures are empty.
    pub(crate) fn csv(&self) -> csv::Result<Vec<u8>> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        for record in &self.records {
            writer.write_record(record)?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}
