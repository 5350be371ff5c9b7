//! The two tables of a shard, `sequences.parquet` and `tokens.parquet`.

pub(crate) mod columns;
pub(crate) mod prediction_columns;
pub(crate) mod predictions;
pub(crate) mod sequences;
pub(crate) mod token_table;
pub(crate) mod tokens;
