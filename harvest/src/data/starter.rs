//! Writes a data manifest for data that is given without one.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use hayloft_store::Packing;
use serde::Serialize;

use super::DataError;

/// Data without a manifest: its files, and how they become sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StarterManifest {
    /// A file, a folder or a pattern.
    pub data: PathBuf,
    /// The length of every sequence in tokens.
    pub context_length: u32,
    /// Limit on the total number of tokens.
    pub max_tokens: Option<NonZeroU64>,
}

/// The TOML as written.
#[derive(Serialize)]
struct Written {
    name: String,
    packing: Packing,
    context_length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<NonZeroU64>,
    files: Vec<WrittenFile>,
}

#[derive(Serialize)]
struct WrittenFile {
    path: String,
}

impl StarterManifest {
    /// Writes the data manifest that this stands for beside the cache `out`, as `OUT.toml`. Returns its path.
    ///
    /// One with the same content may be there already.
    pub fn write(&self, out: &Path) -> Result<PathBuf, DataError> {
        let wrong = |expected: &str, got: &Path| DataError::Key {
            path: self.data.clone(),
            key: "--context".to_owned(),
            expected: expected.to_owned(),
            got: got.display().to_string(),
        };
        if self.data.extension().is_some_and(|ending| ending == "toml") {
            return Err(wrong("data, got a data manifest, which has a context_length itself", &self.data));
        }
        let out_name = out.to_str().filter(|name| !name.contains("://"));
        let out_name =
            out_name.ok_or_else(|| wrong("--out in a folder, beside which a data manifest is written", out))?;
        let path = PathBuf::from(format!("{}.toml", out_name.trim_end_matches('/')));
        let data = std::path::absolute(&self.data).map_err(|cause| DataError::file(&self.data, "find", cause))?;
        let named = data.to_str().ok_or_else(|| wrong("a path in UTF-8", &self.data))?;
        let name = data.file_name().and_then(|name| name.to_str()).unwrap_or("data");
        let written = Written {
            name: name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("data").to_owned(),
            packing: Packing::Concat,
            context_length: self.context_length,
            max_tokens: self.max_tokens,
            files: vec![WrittenFile { path: named.to_owned() }],
        };
        let text = toml::to_string(&written)
            .map_err(|error| DataError::Manifest { path: path.clone(), problem: error.to_string() })?;
        if path.exists() {
            if fs::read_to_string(&path).is_ok_and(|existing| existing == text) {
                return Ok(path);
            }
            return Err(wrong("no other data manifest where this one is to be written. Take another --out", &path));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|cause| DataError::file(folder, "create", cause))?;
        }
        fs::write(&path, text).map_err(|cause| DataError::file(&path, "write", cause))?;
        tracing::info!(
            "{}: the data manifest that --context stands for. Change it there, and give it as --data",
            path.display()
        );
        Ok(path)
    }
}
