//! Conversion to and from other formats: SAELens's cached activations, and safetensors.

mod checkpoint;
mod destination;
mod elements;
mod intake;
mod provenance;
pub mod saelens;
pub mod safetensors;
mod selection;

pub use checkpoint::{ModelAndTokenizer, read_tokenizer};

use std::path::PathBuf;

use hayloft_runtime::Dtype;
use serde::Serialize;

use crate::codec::Codec;
use crate::format::settings::{Existing, NonFinite};
use crate::format::site::SiteName;

/// Progress of an export or an import.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeProgress {
    /// Tokens done.
    pub tokens: u64,
    /// Tokens in total.
    pub total_tokens: u64,
}

/// Settings of an export.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// The cache.
    pub cache: PathBuf,
    /// The folder to write. It must not exist.
    pub out: PathBuf,
    /// The sites to export; empty for all.
    pub sites: Vec<SiteName>,
    /// The type of the exported elements; `None` for the default of the format.
    pub dtype: Option<Dtype>,
    /// Whether to leave out and count sequences that the format cannot hold, rather than fail.
    pub leave_out_short: bool,
}

/// The result of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportSummary {
    /// The folder.
    pub folder: PathBuf,
    /// Number of activation files.
    pub files: usize,
    /// Size of the activation files in bytes.
    pub bytes: u64,
    /// Sequences exported.
    pub sequences: u64,
    /// Tokens exported.
    pub tokens: u64,
    /// Sequences left out because of their length.
    pub left_out_sequences: u64,
    /// The sites exported.
    pub sites: Vec<SiteName>,
    /// The type of the exported elements.
    pub dtype: Dtype,
    /// How the cache stored activations. With `int8` they are rounded.
    pub codec: Codec,
}

/// Settings of an import.
#[derive(Clone, Debug)]
pub struct ImportSettings {
    /// The folder to import.
    pub from: PathBuf,
    /// The cache to create.
    pub out: PathBuf,
    /// The Hugging Face folder of the model that produced the activations, if available.
    pub checkpoint: Option<PathBuf>,
    /// The sites to import; empty for all.
    pub sites: Vec<SiteName>,
    /// How to store activations.
    pub codec: Codec,
    /// The name of the corpus; `None` for the name recorded in the folder.
    pub name: Option<String>,
    /// The BOS token that starts sequences; `None` for the checkpoint's.
    pub bos: Option<u32>,
    /// The type that the model ran in; `None` for the recorded type, or else the type of the activations.
    pub precision: Option<Dtype>,
    /// The target number of tokens per shard.
    pub shard_tokens: u64,
    /// The target number of rows per row group.
    pub row_group_rows: u32,
    /// How to handle activations that are NaN or infinite.
    pub non_finite: NonFinite,
    /// How to handle an interrupted import of the same folder.
    pub existing: Existing,
}

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// The cache's folder.
    pub folder: PathBuf,
    /// Number of shards.
    pub shards: usize,
    /// Number of sequences.
    pub sequences: u64,
    /// Number of tokens.
    pub tokens: u64,
    /// The sites.
    pub sites: Vec<SiteName>,
    /// The element type.
    pub dtype: Dtype,
    /// Whether the model that produced the activations is known.
    pub model_known: bool,
}
