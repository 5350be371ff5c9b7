//! `hayloft.json`: the origin of an exported folder. Readers of the other format ignore it. It lets an import recover
//! the model, the tokenizer and the hash of every file.

use std::path::Path;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::error::{Result, StoreError};
use crate::format::records::{Corpus, FileRecord, ModelRecord};
use crate::format::site::SiteName;
use crate::fs::folder::Folder;
use crate::fs::hash::read_verified;
use crate::fs::json;

pub(super) const PROVENANCE_FILE: &str = "hayloft.json";

/// The contents of `hayloft.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provenance {
    /// The format version of the cache.
    pub(super) format: u32,
    /// The format of the export: `safetensors` or `saelens`.
    pub(super) exported_as: String,
    /// BLAKE3 of the manifest of the exported cache.
    pub(super) manifest_blake3: String,
    /// How that cache stored activations. With `int8` they are rounded.
    pub(super) codec: Codec,
    pub(super) model: ModelRecord,
    pub(super) corpus: Corpus,
    pub(super) sites: Vec<SiteName>,
    /// The type of the exported elements.
    pub(super) dtype: Dtype,
    /// The activation files in order, relative to the folder.
    pub(super) files: Vec<FileRecord>,
}

impl Provenance {
    /// Reads the record of an exported folder, if it has one, and verifies the hashes of the files.
    pub(super) fn read(folder: &Path, exported_as: &str) -> Result<Option<Self>> {
        let path = folder.join(PROVENANCE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let provenance: Self = json::unseal(&path, &json::read(&path)?)?;
        if provenance.exported_as != exported_as {
            let (expected, got) = (exported_as.to_owned(), provenance.exported_as);
            return Err(StoreError::Malformed { path, expected: format!("an export as {expected}"), got });
        }
        let files = Folder::new(folder);
        for record in &provenance.files {
            read_verified(&files.locate(&path, &record.path)?, record)?;
        }
        Ok(Some(provenance))
    }
}
