//! Errors of planning and harvesting.

use std::path::PathBuf;

use hayloft_checkpoint::CheckpointError;
use hayloft_model::ModelError;
use hayloft_runtime::words::did_you_mean;
use hayloft_store::StoreError;

use crate::chat::ChatError;
use crate::data::DataError;

/// An error of planning or harvesting. Every message names the file or flag, what was expected, what was found and what
/// to do.
#[derive(Debug, thiserror::Error)]
pub enum HarvestError {
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The chat template cannot be used.
    #[error(transparent)]
    Chat(Box<ChatError>),
    /// A row cannot be converted to a conversation.
    #[error("{manifest}: row {row} of its files (counted from 0): {cause}")]
    ChatRow {
        /// The data manifest.
        manifest: PathBuf,
        /// The row's index among all rows of the files.
        row: u64,
        /// What is wrong.
        cause: Box<ChatError>,
    },
    /// No row yields a conversation.
    #[error(
        "{manifest}: expected conversations, got none: {skipped} rows were skipped. Check files and [selection] in the data manifest, and whether context_length holds a prompt"
    )]
    NoConversations {
        /// The data manifest.
        manifest: PathBuf,
        /// Number of rows skipped.
        skipped: u64,
    },
    /// The model or its tokenizer cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The cache cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// LibTorch reported an error.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// The sequences are longer than the model supports.
    #[error(
        "{source_file}: context_length: expected at most {longest}, the max_position_embeddings of {model}, got {context_length}. Lower context_length in the data manifest and plan again"
    )]
    ContextTooLong {
        /// The data manifest or `plan.json` that sets the length.
        source_file: PathBuf,
        /// The requested length, in tokens.
        context_length: u32,
        /// The checkpoint's folder.
        model: PathBuf,
        /// The longest supported, in tokens.
        longest: usize,
    },
    /// The token ids of the data were made by another tokenizer.
    #[error(
        "{manifest}: tokenizer_blake3: expected token ids of the tokenizer {got} of --model, got those of {expected}. Take the checkpoint whose tokenizer made them"
    )]
    OtherTokenizer {
        /// The data manifest.
        manifest: PathBuf,
        /// The hash in the data manifest.
        expected: String,
        /// The hash of the model's `tokenizer.json`.
        got: String,
    },
    /// The data has no text.
    #[error(
        "{manifest}: expected text, got none: {documents} documents, all of them without tokens. Check files and text_field in the data manifest"
    )]
    NoTokens {
        /// The data manifest.
        manifest: PathBuf,
        /// Number of documents read.
        documents: u64,
    },
    /// The data has too few tokens for one sequence.
    #[error(
        "{manifest}: expected tokens for at least one sequence, got {tokens} tokens with context_length {context_length}. Add files or lower context_length in the data manifest, or use packing = \"per-document\""
    )]
    TooFewTokens {
        /// The data manifest.
        manifest: PathBuf,
        /// Number of tokens in the data.
        tokens: u64,
        /// The length of a sequence.
        context_length: u32,
    },
    /// `max_tokens` is too small for one sequence.
    #[error(
        "{manifest}: max_tokens: expected room for at least the first sequence, got {max_tokens}. Raise max_tokens or lower context_length in the data manifest"
    )]
    LimitTooSmall {
        /// The data manifest.
        manifest: PathBuf,
        /// The limit.
        max_tokens: u64,
    },
    /// The existing plan differs from the requested settings.
    #[error(
        "{path}: {setting}: expected {expected} as requested, got {got} in the existing plan. Request the same as the plan, or use another --out"
    )]
    PlanDiffers {
        /// The `plan.json`.
        path: PathBuf,
        /// The setting that differs.
        setting: String,
        /// The requested value.
        expected: String,
        /// The planned value.
        got: String,
    },
    /// A plan already exists.
    #[error(
        "{path}: expected no plan, got one that is never changed. `harvest run` fills it; to plan something else, use another --out"
    )]
    AlreadyPlanned {
        /// The `plan.json`.
        path: PathBuf,
    },
    /// No plan exists, and no data manifest is given to make one.
    #[error(
        "{folder}: expected plan.json, got none. Name a data manifest with --data, so that it can be planned, or copy the planned folder here"
    )]
    NothingPlanned {
        /// The cache's folder.
        folder: PathBuf,
    },
    /// The plan has a token beyond the model's vocabulary.
    #[error(
        "the plan has the token id {id}, but the model's vocabulary ends at {vocabulary}. Expected the checkpoint that it was planned for"
    )]
    Vocabulary {
        /// The token id.
        id: u32,
        /// Rows of the model's embedding.
        vocabulary: usize,
    },
    /// No site was given.
    #[error("--site: expected at least one, got none. An example is --site blocks.{example}.hook_resid_pre")]
    NoSites {
        /// A block in the middle of the model.
        example: usize,
    },
    /// The shard range cannot be parsed.
    #[error(
        "--shards {text:?}: expected A..B, A.. or ..B: the first shard and the one after the last, counted from 0, such as 0..16"
    )]
    ShardRangeText {
        /// The text given.
        text: String,
    },
    /// The shard range is outside the plan.
    #[error("--shards {range}: expected shards among the {planned} that are planned, 0..{planned}")]
    ShardRange {
        /// The range given.
        range: String,
        /// Number of shards in the plan.
        planned: usize,
    },
    /// The logits setting cannot be parsed.
    #[error(
        "--logits {text:?}: expected none, loss, top=K or full, with K of at least 1, such as top=64{}",
        did_you_mean(.text, ["none", "loss", "top=64", "full"])
    )]
    LogitsText {
        /// The text given.
        text: String,
    },
    /// The cache is a remote location, and sharing is off.
    #[error(
        "{out}: expected a folder, got a location, which only processes with --share fill. Add --share, or harvest into a folder and `store push` it"
    )]
    NotShared {
        /// The location given.
        out: PathBuf,
    },
    /// A stop was requested.
    #[error(
        "stopped as asked. Nothing half-written was left, and shards that are whole stay: run the same command again, with --resume or --share, to go on"
    )]
    Stopped,
    /// The writing thread has stopped. The writing thread's own error is returned in place of this one.
    #[error("the thread that writes has stopped")]
    WritingStopped,
}

impl From<CheckpointError> for HarvestError {
    fn from(error: CheckpointError) -> Self {
        Self::Model(error.into())
    }
}

impl From<ChatError> for HarvestError {
    fn from(error: ChatError) -> Self {
        Self::Chat(Box::new(error))
    }
}
