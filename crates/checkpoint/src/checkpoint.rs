//! An opened Hugging Face folder: checked, with its weights mapped but not read.

use std::path::{Path, PathBuf};

use hayloft_runtime::{Dtype, ModelIdentity};
use serde_json::Value;

use crate::config::{self, ModelConfig};
use crate::error::CheckpointError;
use crate::identity;
use crate::spec::{DecoderSpec, HeadWeights};
use crate::weights::{Entry, WeightFiles, adapter, tensor_names};

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
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
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
    pub fn read_config(folder: &Path) -> Result<(DecoderSpec, Option<Dtype>), CheckpointError> {
        adapter::refuse(folder)?;
        let ModelConfig { spec, precision, quantisation } = config::read(&folder.join(CONFIG))?;
        let Some(quantisation) = quantisation else { return Ok((spec, precision)) };
        let method = quantisation.get("quant_method").and_then(Value::as_str).unwrap_or("an unnamed method");
        Err(CheckpointError::Quantised { path: folder.join(CONFIG), method: method.to_owned() })
    }

    /// Reads the architecture in `folder`, without opening the weights, which may be quantised.
    pub fn read_spec(folder: &Path) -> Result<DecoderSpec, CheckpointError> {
        Ok(config::read(&folder.join(CONFIG))?.spec)
    }

    /// The architecture of the model.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The number type that the model runs in unless another is asked for: that of the configuration, else of the weights.
    pub fn precision(&self) -> Dtype {
        self.precision
    }

    /// The checkpoint folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Size in bytes of the decoder's tensors.
    pub fn tensor_bytes(&self) -> u64 {
        self.weights.entries().values().map(Entry::len).sum()
    }

    /// Computes the identity of the model, on all cores. Reads every tensor of files that are new or have changed since they
    /// were last hashed; digests of the others are kept in the user's cache folder. `hashed` receives sizes in bytes of tensors
    /// as they are done, [`tensor_bytes`](Self::tensor_bytes) in all.
    pub fn identity(&self, hashed: &(dyn Fn(u64) + Sync)) -> Result<ModelIdentity, CheckpointError> {
        Ok(ModelIdentity {
            facts: identity::facts(&self.spec, self.precision),
            tensors_sha256: identity::tensors_sha256(&self.weights, &self.spec, hashed)?,
        })
    }

    /// The weights.
    pub fn weights(&self) -> &WeightFiles {
        &self.weights
    }
}
