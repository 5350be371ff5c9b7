//! A shard's `tokens.parquet`: the plan's columns and those of the forward pass.

use std::path::Path;
use std::sync::Arc;

use arrow_array::Float32Array;
use arrow_schema::DataType;

use crate::error::Result;
use crate::format::group_sums::{self, GroupSums};
use crate::format::plan::TOKENS_FILE;
use crate::format::records::{FileRecord, KeptPredictions};
use crate::format::site::SiteName;
use crate::format::tables::columns::{TableWriter, field};
use crate::format::tables::prediction_columns;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::tokens::{self, Tokens};
use crate::fs::disk::Disk;
use crate::fs::hash::HashingFile;

/// The contents of the table. They alone determine its bytes.
pub(crate) struct TokenTable<'a> {
    pub(crate) planned: &'a Tokens,
    /// Predictions over the tokens, if stored.
    pub(crate) predictions: Option<&'a Predictions>,
    /// Norms of each site over the tokens, sorted by site name.
    pub(crate) norms: Vec<(&'a SiteName, &'a [f32])>,
}

impl TokenTable<'_> {
    /// Writes the table to a new file at `path` and fsyncs it. Returns its record and the sums by section and subset.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path) -> Result<(FileRecord, Vec<GroupSums>)> {
        let mut fields = self.planned.fields();
        if let Some(predictions) = self.predictions {
            fields.extend(prediction_columns::fields(KeptPredictions::top(predictions.top_k as u32)));
        }
        for (site, _) in &self.norms {
            fields.push(field(&prediction_columns::norm_column(site), DataType::Float32, false));
        }
        let mut sink = HashingFile::create(disk, path)?;
        let mut table = TableWriter::new(path, &mut sink, fields, &tokens::REPETITIVE)?;
        for rows in tokens::batches(self.planned.len()) {
            let mut columns = self.planned.columns(rows.clone());
            if let Some(predictions) = self.predictions {
                columns.extend(prediction_columns::columns(predictions, rows.clone())?);
            }
            for (_, norms) in &self.norms {
                columns.push(Arc::new(Float32Array::from_iter_values(norms[rows.clone()].iter().copied())));
            }
            table.write(path, columns)?;
        }
        table.finish(path)?;
        Ok((sink.finish(path, TOKENS_FILE)?, self.statistics()))
    }

    pub(crate) fn statistics(&self) -> Vec<GroupSums> {
        let sites: Vec<SiteName> = self.norms.iter().map(|(site, _)| (*site).clone()).collect();
        let norms: Vec<&[f32]> = self.norms.iter().map(|(_, norms)| *norms).collect();
        group_sums::of_shard(self.planned, self.predictions, &sites, &norms)
    }
}
