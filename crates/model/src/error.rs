//! Errors of loading and running a model.

use std::path::PathBuf;

use hayloft_checkpoint::CheckpointError;

/// An error of this crate. Every message names the file, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A checkpoint, or a file in its folder, is unusable.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
    /// The tokenizer cannot be used.
    #[error("{path}: {problem}")]
    Tokenizer {
        /// The tokenizer's file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A text has a token beyond the model's vocabulary.
    #[error(
        "{path}: the data has token {token:?} with id {id}, but the model's vocabulary ends at {vocabulary}. Expected tokenizer, data and model of one checkpoint, or texts without this token"
    )]
    Vocabulary {
        /// The tokenizer's file.
        path: PathBuf,
        /// The token; empty for an id that the tokenizer does not know.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the model's embedding.
        vocabulary: usize,
    },
    /// The name of a site is invalid.
    #[error(
        "site {name:?}: expected blocks.L.hook_resid_pre, hook_resid_mid, hook_resid_post, hook_attn_out, hook_mlp_out, attn.hook_z, mlp.hook_in or ln2.hook_normalized, for example blocks.16.hook_resid_pre{suggestion}"
    )]
    SiteName {
        /// The name given.
        name: String,
        /// The sentence that asks for the nearest name; empty if none is near.
        suggestion: String,
    },
    /// A site lies outside the model.
    #[error("site {site}: block {block} does not exist, the model has {n_blocks} blocks: expected 0 to {last}", last = n_blocks.saturating_sub(1))]
    SiteRange {
        /// The site.
        site: String,
        /// Its block.
        block: usize,
        /// The number of blocks of the model.
        n_blocks: usize,
    },
    /// The model's family does not have the site.
    #[error("site {site}: a model of type {model_type} does not have it: {reason}. Give another site of the block")]
    SiteAbsent {
        /// The site.
        site: String,
        /// The model's family.
        model_type: String,
        /// Why it does not exist.
        reason: &'static str,
    },
    /// A device name is invalid, or the device does not exist.
    #[error("device {name:?}: {problem}")]
    Device {
        /// The name given.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A requested part of the decoder is not loaded, or a pass would go backwards.
    #[error("{asked}: not in the loaded part of the model ({loaded})")]
    NotLoaded {
        /// What was requested.
        asked: String,
        /// What is loaded.
        loaded: String,
    },
    /// The model cannot take the input.
    #[error("{problem}")]
    Input {
        /// What is wrong: expected and actual.
        problem: String,
    },
    /// An error from LibTorch.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

impl From<CheckpointError> for ModelError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(Box::new(error))
    }
}
