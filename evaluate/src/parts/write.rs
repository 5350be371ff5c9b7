//! Writing and displaying a partial result.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hayloft_runtime::{Part, words, write_whole};
use serde_json::json;

use super::error::PartialError;
use super::file::to_bytes;
use super::find::{PartKind, file_name};
use super::measurement::Measurement;

/// The measurement of one part of a cache's shards. Metrics need all parts: see [`merge`](crate::merge).
#[derive(Debug, Clone)]
pub struct PartialResults {
    part: Part,
    measurement: Measurement,
}

impl PartialResults {
    pub(crate) fn new(part: Part, measurement: Measurement) -> Self {
        Self { part, measurement }
    }

    /// Writes `part-I-of-N.safetensors` into a folder, which is created if missing. The write is atomic. Returns the
    /// file's path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, PartialError> {
        let path = folder.join(file_name(PartKind::Results, self.part));
        let written = self.bytes().and_then(|bytes| write_whole(&path, &bytes));
        written.map_err(|cause| PartialError::Write { path: path.clone(), cause })?;
        Ok(path)
    }

    /// Replaces the folder recorded for every SAE.
    pub(crate) fn with_folder(mut self, folder: &str) -> Self {
        for sae in &mut self.measurement.saes {
            folder.clone_into(&mut sae.provenance.folder);
        }
        self
    }

    pub(crate) fn bytes(&self) -> io::Result<Vec<u8>> {
        to_bytes(&self.measurement, self.part)
    }

    /// The numbers of the measured shards.
    pub fn shards(&self) -> &[usize] {
        &self.measurement.shards
    }

    /// A summary as JSON: `part`, the numbers of its `shards`, the cache's number of shards (`of_shards`), `saes` and
    /// `sections`.
    pub fn json(&self) -> serde_json::Value {
        let Measurement { cache, protocol, shards, saes, .. } = &self.measurement;
        json!({
            "part": self.part.to_string(),
            "shards": shards,
            "of_shards": cache.shards.len(),
            "saes": saes.iter().map(|sae| &sae.name).collect::<Vec<_>>(),
            "sections": protocol.sections,
        })
    }
}

impl fmt::Display for PartialResults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measurement { cache, shards, saes, .. } = &self.measurement;
        let names: Vec<&str> = saes.iter().map(|sae| sae.name.as_str()).collect();
        formatter.write_str(&part_in_words(self.part, shards, cache.shards.len(), &names))
    }
}

/// What a part holds: its shards of so many, by their numbers, and the names of its SAEs.
pub(crate) fn part_in_words(part: Part, shards: &[usize], of: usize, saes: &[&str]) -> String {
    let numbers = if shards.is_empty() { String::new() } else { format!(" ({})", words::list(shards)) };
    format!("part {part}: {} of {of} shards{numbers}, {}", shards.len(), saes.join(", "))
}
