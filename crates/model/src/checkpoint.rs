//! An opened Hugging Face folder: checked, with its weights mapped but not read.

use std::path::{Path, PathBuf};

use hayloft_runtime::{Dtype, FileHash, Fingerprint};
use serde_json::Value;

use crate::config::{self, ModelConfig};
use crate::error::ModelError;
use crate::spec::{DecoderSpec, HeadWeights};
use crate::weights::{WeightFiles, adapter, tensor_names};

const CONFIG: &str = "config.json";

/// A checkpoint with a supported configuration and a complete set of tensors.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    spec: DecoderSpec,
    precision: Dtype,
    weights: WeightFiles,
}

impl Checkpoint {
    /// Opens a folder with `config.json` and `model.safetensors`, or the shards and their index.
    ///
    /// The files must hold every tensor that the configuration calls for, in its shape, and no other. If a tied unembedding
    /// is stored with values that differ from the embedding, the stored values are used. A folder with an adapter is
    /// refused.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let (mut spec, precision) = Self::read_config(folder)?;
        let weights = WeightFiles::open(folder, &spec)?;
        let outer = tensor_names::of(spec.layout);
        if let Some(file) = weights.untied_head(&spec)? {
            tracing::warn!(
                "{}: {} differs from the embedding that config.json ties it to (tie_word_embeddings). The stored one is used, as transformers does; set tie_word_embeddings to false to say so",
                file.display(),
                outer.head
            );
            spec.head = HeadWeights::Own;
        }
        let stored = weights.precision(outer.embedding);
        if let (Some(named), Some(stored)) = (precision, stored.filter(|stored| precision != Some(*stored))) {
            let folder = folder.display();
            tracing::info!(
                "{folder}: config.json says {named}, the weights are stored in {stored}: {named} is what the model runs in where nothing else is asked for, as in transformers"
            );
        }
        let precision = precision.or(stored).unwrap_or(Dtype::F32);
        Ok(Self { folder: folder.to_path_buf(), spec, precision, weights })
    }

    /// Reads the configuration in `folder` as [`open`](Self::open) does, without the weights: refuses an adapter, and
    /// quantised weights. Returns the architecture, and the number type of the weights if the file has it.
    pub fn read_config(folder: &Path) -> Result<(DecoderSpec, Option<Dtype>), ModelError> {
        adapter::refuse(folder)?;
        let ModelConfig { spec, precision, quantisation } = config::read(&folder.join(CONFIG))?;
        let Some(quantisation) = quantisation else { return Ok((spec, precision)) };
        let method = quantisation.get("quant_method").and_then(Value::as_str).unwrap_or("an unnamed method");
        Err(ModelError::Quantised { path: folder.join(CONFIG), method: method.to_owned() })
    }

    /// Reads the architecture in `folder`, without opening the weights, which may be quantised.
    pub fn read_spec(folder: &Path) -> Result<DecoderSpec, ModelError> {
        Ok(config::read(&folder.join(CONFIG))?.spec)
    }

    /// The architecture of the model.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The number type of the saved weights.
    pub fn precision(&self) -> Dtype {
        self.precision
    }

    /// The checkpoint folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hashes the configuration and all weights. Reads the whole checkpoint once, on all cores.
    pub fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        let hash = |name: &str| {
            FileHash::of(&self.folder, name).map_err(|source| ModelError::io(&self.folder.join(name), source))
        };
        Ok(Fingerprint {
            model_type: self.spec.model_type.clone(),
            config_blake3: hash(CONFIG)?.blake3,
            weights: self.weights.file_names().map(hash).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn weights(&self) -> &WeightFiles {
        &self.weights
    }
}
