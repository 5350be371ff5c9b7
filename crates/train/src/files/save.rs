//! Saves an SAE in SAELens's native layout.

use std::io;
use std::path::Path;

use hayloft_runtime::write_whole;
use serde_json::{Map, Value};

use crate::error::TrainError;
use crate::files::tensor_file;
use crate::model::Exported;

/// An SAE with its provenance.
#[derive(Debug)]
pub(crate) struct SavedSae {
    pub(crate) exported: Exported,
    /// SAELens reads `hook_name`, `model_name`, `context_size` and `prepend_bos`, and preserves other fields.
    pub(crate) metadata: Map<String, Value>,
}

impl SavedSae {
    /// Writes `sae_weights.safetensors`, then `cfg.json`, creating the folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let tensors: Vec<_> =
            self.exported.tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect();
        tensor_file::write(&folder.join("sae_weights.safetensors"), &tensors)?;
        let mut config = self.exported.config.clone();
        config.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
        write_json(&folder.join("cfg.json"), &config)
    }
}

/// Writes indented JSON atomically.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), TrainError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(io::Error::other).map_err(TrainError::write(path))?;
    bytes.push(b'\n');
    write_whole(path, &bytes).map_err(TrainError::write(path))
}
