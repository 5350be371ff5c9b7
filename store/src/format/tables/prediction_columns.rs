//! The columns that the forward pass adds to `tokens.parquet`: predictions, and the activation norms of each site.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, Float32Array};
use arrow_schema::{DataType, Field};
use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::records::KeptPredictions;
use crate::format::site::SiteName;
use crate::format::tables::columns::{column, field, full_column, malformed, read_columns};
use crate::format::tables::predictions::Predictions;

pub(crate) fn norm_column(site: &SiteName) -> String {
    format!("residual_norm.{site}")
}

pub(crate) fn fields(kept: KeptPredictions) -> Vec<Field> {
    let mut fields = vec![
        field("loss", DataType::Float32, true),
        field("logsumexp", DataType::Float32, false),
        field("entropy", DataType::Float32, false),
    ];
    if kept.top_k > 0 {
        let width = DataType::FixedSizeBinary(4 * kept.top_k as i32);
        fields.push(field("top_ids", width.clone(), false));
        fields.push(field("top_logits", width, false));
    }
    fields
}

/// Returns the prediction columns over a range of rows, in the order of [`fields`].
pub(crate) fn columns(predictions: &Predictions, rows: Range<usize>) -> Result<Vec<ArrayRef>> {
    let loss = predictions.loss[rows.clone()].iter().map(|loss| (!loss.is_nan()).then_some(*loss));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(loss.collect::<Float32Array>()),
        Arc::new(Float32Array::from_iter_values(predictions.logsumexp[rows.clone()].iter().copied())),
        Arc::new(Float32Array::from_iter_values(predictions.entropy[rows.clone()].iter().copied())),
    ];
    let top_k = predictions.top_k;
    if top_k > 0 {
        let values = rows.start * top_k..rows.end * top_k;
        columns.push(fixed_width(top_k, predictions.top_ids[values.clone()].iter().map(|id| id.to_le_bytes()))?);
        columns.push(fixed_width(top_k, predictions.top_logits[values].iter().map(|logit| logit.to_le_bytes()))?);
    }
    Ok(columns)
}

fn fixed_width(top_k: usize, words: impl Iterator<Item = [u8; 4]>) -> Result<ArrayRef> {
    let bytes: Vec<u8> = words.flatten().collect();
    let array = FixedSizeBinaryArray::try_new(4 * top_k as i32, bytes.into(), None)
        .map_err(|error| StoreError::invalid("top logits", "top_k words a row", error))?;
    Ok(Arc::new(array))
}

/// Reads the predictions of `rows` rows from the bytes of the file at `path`.
pub(crate) fn read(path: &Path, bytes: Bytes, rows: u64, kept: KeptPredictions) -> Result<Predictions> {
    let top_k = kept.top_k as usize;
    let mut predictions = Predictions { top_k, ..Predictions::default() };
    let names: &[&str] = if top_k > 0 {
        &["loss", "logsumexp", "entropy", "top_ids", "top_logits"]
    } else {
        &["loss", "logsumexp", "entropy"]
    };
    read_columns(path, bytes, rows, names, |batch| {
        let loss: &Float32Array = column(path, batch, "loss")?;
        predictions.loss.extend(loss.iter().map(|loss| loss.unwrap_or(f32::NAN)));
        predictions.logsumexp.extend_from_slice(full_column::<Float32Array>(path, batch, "logsumexp")?.values());
        predictions.entropy.extend_from_slice(full_column::<Float32Array>(path, batch, "entropy")?.values());
        if top_k > 0 {
            let ids = words(path, full_column(path, batch, "top_ids")?, top_k)?;
            predictions.top_ids.extend(ids.map(u32::from_le_bytes));
            let logits = words(path, full_column(path, batch, "top_logits")?, top_k)?;
            predictions.top_logits.extend(logits.map(f32::from_le_bytes));
        }
        Ok(())
    })?;
    Ok(predictions)
}

fn words<'a>(
    path: &Path,
    array: &'a FixedSizeBinaryArray,
    top_k: usize,
) -> Result<impl Iterator<Item = [u8; 4]> + use<'a>> {
    if array.value_length() as usize != 4 * top_k {
        let got = format!("{} bytes", array.value_length());
        return Err(malformed(path, &format!("top logits of {} bytes a row", 4 * top_k), got));
    }
    let bytes = array.value_data().get(..4 * top_k * array.len()).unwrap_or_default();
    Ok(bytes.as_chunks::<4>().0.iter().copied())
}

/// Reads a site's norms, `[rows]` f32.
pub(crate) fn read_norms(path: &Path, bytes: Bytes, rows: u64, site: &SiteName) -> Result<Vec<f32>> {
    let name = norm_column(site);
    let mut norms = Vec::new();
    read_columns(path, bytes, rows, &[&name], |batch| {
        norms.extend_from_slice(full_column::<Float32Array>(path, batch, &name)?.values());
        Ok(())
    })?;
    Ok(norms)
}
