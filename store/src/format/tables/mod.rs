//! The two tables of a shard, `sequences.parquet` and `tokens.parquet`.

pub(crate) mod columns;
pub(crate) mod prediction_columns;
pub mod predictions;
pub mod sequences;
pub(crate) mod token_table;
pub mod tokens;
