//! To and from the formats of others: SAELens's cached activations, and safetensors.

mod checkpoint;
mod destination;
mod elements;
mod intake;
mod provenance;
pub mod saelens;
pub mod safetensors;
mod selection;

use std::path::PathBuf;

use hayloft_runtime::Dtype;
use serde::Serialize;

use crate::codec::Codec;
use crate::format::settings::{Existing, NonFinite};
use crate::format::site::SiteName;

/// How far an export or an import has come.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeProgress {
    /// Tokens done.
    pub tokens: u64,
    /// Tokens to be done.
    pub total_tokens: u64,
}

/// What an export is asked for.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// The cache.
    pub cache: PathBuf,
    /// The folder to be written. It must not be there.
    pub out: PathBuf,
    /// The sites; empty for all.
    pub sites: Vec<SiteName>,
    /// The type of the exported elements; none for the one that suits the format.
    pub dtype: Option<Dtype>,
    /// Whether sequences that a format cannot hold are left out and counted, rather than refused.
    pub leave_out_short: bool,
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportSummary {
    /// The folder.
    pub folder: PathBuf,
    /// Files of activations in it.
    pub files: usize,
    /// Bytes of those files.
    pub bytes: u64,
    /// Sequences exported.
    pub sequences: u64,
    /// Tokens exported.
    pub tokens: u64,
    /// Sequences left out because their length is another.
    pub left_out_sequences: u64,
    /// The sites exported.
    pub sites: Vec<SiteName>,
    /// The type of the exported elements.
    pub dtype: Dtype,
    /// How the cache stored activations: they are rounded where that is `int8`.
    pub codec: Codec,
}

/// What an import is asked for.
#[derive(Clone, Debug)]
pub struct ImportSettings {
    /// The folder to be imported.
    pub from: PathBuf,
    /// The cache to be made.
    pub out: PathBuf,
    /// The Hugging Face folder of the model that the activations come from, if it is at hand.
    pub checkpoint: Option<PathBuf>,
    /// The sites; empty for all.
    pub sites: Vec<SiteName>,
    /// How activations are to be stored.
    pub codec: Codec,
    /// The name of the corpus; none for what the folder says.
    pub name: Option<String>,
    /// The token that begins sequences; none for what the checkpoint says.
    pub bos: Option<u32>,
    /// The type that the model ran in; none for what the folder says, or else the type that the activations are in.
    pub precision: Option<Dtype>,
    /// The tokens that a shard is filled up to.
    pub shard_tokens: u64,
    /// The rows that a row group is filled up to.
    pub row_group_rows: u32,
    /// What to do with activations that are NaN or infinite.
    pub non_finite: NonFinite,
    /// What to do with an import of the same folder that was interrupted.
    pub existing: Existing,
}

/// What an import made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// The cache's folder.
    pub folder: PathBuf,
    /// Its shards.
    pub shards: usize,
    /// Its sequences.
    pub sequences: u64,
    /// Its tokens.
    pub tokens: u64,
    /// Its sites.
    pub sites: Vec<SiteName>,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Whether it is known which model the activations come from.
    pub model_known: bool,
}
