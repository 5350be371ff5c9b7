//! A folder of safetensors files, one per shard, that torch, numpy and JAX load without Hayloft.
//!
//! | tensor | type | shape | |
//! |---|---|---|---|
//! | `table.token`, `table.position`, `table.sequence`, `table.document` | I64 | `[rows]` | as in `tokens.parquet` |
//! | `table.sequence_length`, `table.sequence_row_group`, `table.sequence_document` | I64 | `[sequences]` | as in `sequences.parquet` |
//! | `table.subset` | I32 | `[rows]` | index into the list `hayloft.subsets`; -1 for none |
//! | SITE | F32, BF16 or F16 | `[rows, d_model]` | the activations |
//! | `table.section` | U8 | `[rows]` | index into the list `hayloft.sections` |
//!
//! The lists are JSON in the file's metadata. `hayloft.json` beside the files records their origin.

mod export;
mod import;
mod layout;

pub use export::export;
pub use import::import;
