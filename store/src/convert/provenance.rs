//! `hayloft.json`: what an exported folder was made from. It lies beside the files of the other format, whose readers
//! pass over it, so that an import knows the model, the tokenizer and the hash of every file again.

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

/// What `hayloft.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provenance {
    /// The version of the cache's format.
    pub(super) format: u32,
    /// The format of the export: `safetensors` or `saelens`.
    pub(super) exported_as: String,
    /// BLAKE3 of the manifest of the cache that was exported.
    pub(super) manifest_blake3: String,
    /// How that cache stored activations: they are rounded where that is `int8`.
    pub(super) codec: Codec,
    pub(super) model: ModelRecord,
    pub(super) corpus: Corpus,
    pub(super) sites: Vec<SiteName>,
    /// The type of the exported elements.
    pub(super) dtype: Dtype,
    /// The files of activations, relative to the folder, in order.
    pub(super) files: Vec<FileRecord>,
}

impl Provenance {
    /// Reads the record of an exported folder, if there is one, and checks that its files are those that were written.
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
