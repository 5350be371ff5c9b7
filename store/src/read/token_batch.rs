//! The tables of a shard as Arrow record batches.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};

use crate::error::{Result, StoreError};
use crate::format::records::KeptPredictions;
use crate::format::settings::HarvestSettings;
use crate::format::tables::prediction_columns::norm_column;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::tokens::Tokens;
use crate::read::cache::{Cache, Shard};

impl Cache {
    /// Returns the schema of [`Shard::token_batch`], which is the same for every shard.
    ///
    /// | column | type |
    /// |---|---|
    /// | `sequence`, `document` | `UInt64` |
    /// | `position`, `token` | `UInt32` |
    /// | `section` | `Utf8` |
    /// | `subset` | `Utf8`, nullable |
    /// | `turn` | `UInt32`, null where the shard has no conversations of several turns |
    /// | `loss` | `Float32`, in nats, null in the last row of a sequence; absent without predictions, as the following three |
    /// | `logsumexp`, `entropy` | `Float32`, in nats |
    /// | `top_ids`, `top_logits` | `FixedSizeList` of `top_k` `UInt32` and `Float32`; absent if `top_k` is 0 |
    /// | `residual_norm.SITE` | `Float32`, for each site |
    pub fn token_schema(&self) -> Arc<Schema> {
        token_schema(&self.manifest().settings())
    }

    /// Returns the schema of [`Shard::sequence_batch`]: `sequence`, `document` (`UInt64`), `subset` (`Utf8`, nullable),
    /// `first_row` (`UInt64`, the number of its first row in the cache) and `length` (`UInt32`, in tokens).
    pub fn sequence_schema() -> Arc<Schema> {
        Arc::new(Schema::new(vec![
            Field::new("sequence", DataType::UInt64, false),
            Field::new("document", DataType::UInt64, false),
            Field::new("subset", DataType::Utf8, true),
            Field::new("first_row", DataType::UInt64, false),
            Field::new("length", DataType::UInt32, false),
        ]))
    }
}

impl Shard {
    /// Reads the token table as a record batch of [`Cache::token_schema`].
    ///
    /// # Errors
    /// As [`Shard::tokens`].
    pub fn token_batch(&self) -> Result<RecordBatch> {
        let (table, settings) = (self.token_table()?, &self.contents().settings);
        let tokens = table.tokens()?;
        let mut columns = token_columns(&tokens);
        if let Some(predictions) = table.predictions()? {
            columns.extend(prediction_columns(&tokens, predictions)?);
        }
        for site in &settings.sites {
            columns.push(Arc::new(Float32Array::from(table.norms(site)?)));
        }
        RecordBatch::try_new(token_schema(settings), columns).map_err(refused)
    }

    /// Returns the sequences as a record batch of [`Cache::sequence_schema`], in storage order. `first_row` is the number of
    /// the shard's first row in the cache.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if Arrow refuses the columns.
    pub fn sequence_batch(&self, first_row: u64) -> Result<RecordBatch> {
        let sequences = self.sequences();
        let numbers = |of: &dyn Fn(usize) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values((0..sequences.len()).map(of)))
        };
        let columns: Vec<ArrayRef> = vec![
            numbers(&|index| sequences[index].id),
            numbers(&|index| sequences[index].document),
            Arc::new(sequences.iter().map(|sequence| sequence.subset.as_deref()).collect::<StringArray>()),
            numbers(&|index| first_row.saturating_add(sequences[index].first_row)),
            Arc::new(UInt32Array::from_iter_values(sequences.iter().map(|sequence| sequence.length))),
        ];
        RecordBatch::try_new(Cache::sequence_schema(), columns).map_err(refused)
    }
}

fn refused(error: arrow_schema::ArrowError) -> StoreError {
    StoreError::invalid("record batch", "columns that Arrow takes", error)
}

fn token_schema(settings: &HarvestSettings) -> Arc<Schema> {
    let mut fields = Tokens::default().fields();
    fields.push(Field::new("turn", DataType::UInt32, true));
    if let Some(KeptPredictions { top_k, .. }) = settings.predictions {
        fields.push(Field::new("loss", DataType::Float32, true));
        fields.push(Field::new("logsumexp", DataType::Float32, false));
        fields.push(Field::new("entropy", DataType::Float32, false));
        if top_k > 0 {
            fields.push(Field::new("top_ids", list_of(&element(DataType::UInt32), top_k as usize), false));
            fields.push(Field::new("top_logits", list_of(&element(DataType::Float32), top_k as usize), false));
        }
    }
    let norms = settings.sites.iter().map(|site| Field::new(norm_column(site), DataType::Float32, false));
    fields.extend(norms);
    Arc::new(Schema::new(fields))
}

fn element(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", of, false))
}

fn list_of(element: &Arc<Field>, length: usize) -> DataType {
    DataType::FixedSizeList(Arc::clone(element), i32::try_from(length).unwrap_or(i32::MAX))
}

fn token_columns(tokens: &Tokens) -> Vec<ArrayRef> {
    let mut columns = tokens.columns(0..tokens.len());
    if tokens.turn.is_empty() {
        columns.push(Arc::new(UInt32Array::new_null(tokens.len())));
    }
    columns
}

fn prediction_columns(tokens: &Tokens, predictions: Predictions) -> Result<Vec<ArrayRef>> {
    let ends = |row: usize| tokens.sequence.get(row + 1) != tokens.sequence.get(row);
    let loss = predictions.loss.iter().enumerate().map(|(row, loss)| (!ends(row)).then_some(*loss));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(loss.collect::<Float32Array>()),
        Arc::new(Float32Array::from(predictions.logsumexp)),
        Arc::new(Float32Array::from(predictions.entropy)),
    ];
    if predictions.top_k > 0 {
        let list = |values: ArrayRef| -> Result<ArrayRef> {
            let length = i32::try_from(predictions.top_k).unwrap_or(i32::MAX);
            let of = element(values.data_type().clone());
            Ok(Arc::new(FixedSizeListArray::try_new(of, length, values, None).map_err(refused)?))
        };
        columns.push(list(Arc::new(UInt32Array::from(predictions.top_ids)))?);
        columns.push(list(Arc::new(Float32Array::from(predictions.top_logits)))?);
    }
    Ok(columns)
}
