//! Results as a folder of files.

use std::io;
use std::path::Path;

use hayloft_runtime::write_whole;
use serde::Serialize;

use crate::error::ResultsError;
use crate::results::Results;

impl Results {
    /// The results as an indented JSON array.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.results)
    }

    /// Writes `results.json`, `results.csv`, `results.md`, and for each result `{sae}.{section}.json` and the firing
    /// counts `{sae}.{section}.latents.safetensors`. Creates the folder. Each file is written by atomic rename; other
    /// files are not touched.
    pub fn write(&self, folder: &Path) -> Result<(), ResultsError> {
        let write = |name: &str, bytes: io::Result<Vec<u8>>| {
            let path = folder.join(name);
            bytes.and_then(|bytes| write_whole(&path, &bytes)).map_err(|cause| ResultsError::Write { path, cause })
        };
        for result in &self.results {
            write(&format!("{}.{}.json", result.sae, result.section), to_json(result))?;
        }
        for (result, latents) in self.results.iter().zip(&self.latents) {
            let about = [
                ("sae", result.sae.clone()),
                ("section", result.section.to_string()),
                ("manifest_blake3", result.provenance.manifest_blake3.clone()),
            ];
            write(&format!("{}.{}.latents.safetensors", result.sae, result.section), latents.safetensors(about))?;
        }
        write("results.csv", self.csv().map_err(io::Error::other))?;
        write("results.md", Ok(self.markdown().into_bytes()))?;
        write("results.json", to_json(&self.results))
    }
}

fn to_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
