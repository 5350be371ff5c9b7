//! The two small tables of a shard, `sequences.parquet` and `tokens.parquet`.

pub(crate) mod columns;
pub(crate) mod prediction_columns;
pub mod predictions;
pub mod sequences;
pub mod tokens;
