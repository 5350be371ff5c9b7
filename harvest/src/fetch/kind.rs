//! Kinds of entries: model, dataset and SAE.

use std::fmt;

use hayloft_hub::RepoKind;
use serde::{Deserialize, Serialize};

/// The kind of an entry. Decides the type of repository and which files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A checkpoint for `--model`.
    Model,
    /// Documents or instructions, for a data manifest.
    Dataset,
    /// A sparse autoencoder for `--sae`. The Hub has no such type; SAEs are in model repositories.
    Sae,
}

/// The files of a checkpoint. Weights have the names that transformers gives them, so that a second copy (such as
/// `consolidated.safetensors`) is not fetched.
const MODEL_FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "model*.safetensors",
    "model.safetensors.index.json",
];

/// The files that SAELens saves.
const SAE_FILES: [&str; 3] = ["cfg.json", "sae_weights.safetensors", "sparsity.safetensors"];

impl EntryKind {
    /// Returns the kind of repository.
    pub(super) fn repo_kind(self) -> RepoKind {
        match self {
            Self::Model | Self::Sae => RepoKind::Model,
            Self::Dataset => RepoKind::Dataset,
        }
    }

    /// Returns the default files; empty for a dataset, whose files the manifest must name.
    pub(super) fn default_files(self) -> &'static [&'static str] {
        match self {
            Self::Model => &MODEL_FILES,
            Self::Sae => &SAE_FILES,
            Self::Dataset => &[],
        }
    }

    /// Returns the default files that must exist.
    pub(super) fn required_files(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["config.json", "model*.safetensors"],
            Self::Sae => &["cfg.json", "sae_weights.safetensors"],
            Self::Dataset => &[],
        }
    }

    /// Returns whether a file is never fetched, regardless of the manifest: pickled weights, which can execute code.
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
