//! What an entry of a fetch manifest is: a model, a dataset or an SAE.

use std::fmt;

use hf_hub::RepoType;
use serde::{Deserialize, Serialize};

/// What an entry is. It decides where on the Hub it lies and which of its files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A checkpoint for `--model`.
    Model,
    /// Documents or instructions, for a data manifest.
    Dataset,
    /// A sparse autoencoder for `--sae`. The Hub has no such type: it lies in a model repository.
    Sae,
}

/// What a checkpoint needs. Weights are named as transformers names them, so that a second copy of them beside (such as
/// `consolidated.safetensors`) is not taken.
const MODEL_FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model*.safetensors",
    "model.safetensors.index.json",
];

/// What SAELens saves.
const SAE_FILES: [&str; 3] = ["cfg.json", "sae_weights.safetensors", "sparsity.safetensors"];

impl EntryKind {
    /// The type of repository that it lies in.
    pub(super) fn repo_type(self) -> RepoType {
        match self {
            Self::Model | Self::Sae => RepoType::Model,
            Self::Dataset => RepoType::Dataset,
        }
    }

    /// The files that are taken where the manifest does not say; none for a dataset, which must say.
    pub(super) fn default_files(self) -> &'static [&'static str] {
        match self {
            Self::Model => &MODEL_FILES,
            Self::Sae => &SAE_FILES,
            Self::Dataset => &[],
        }
    }

    /// Which of the default files there must be.
    pub(super) fn required_files(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["config.json", "model*.safetensors"],
            Self::Sae => &["cfg.json", "sae_weights.safetensors"],
            Self::Dataset => &[],
        }
    }

    /// Whether a file is never taken, whatever the manifest says: weights that are a pickle, and so a program.
    pub(super) fn never_takes(self, name: &str) -> bool {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        let pickled = ["bin", "pt", "pth", "ckpt", "pkl", "pickle"].contains(&ending.as_str());
        pickled && !matches!(self, Self::Dataset)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Sae => "sae",
        })
    }
}
