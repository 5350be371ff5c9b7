//! The result of reading the data.

use hayloft_store::{ChatRecord, FileRecord};

use super::sink::ShardSink;
use crate::summary::ChatSummary;

/// The result of reading the data. All sequences are in the sink.
pub(super) struct Planned {
    /// The files read.
    pub(super) files: Vec<FileRecord>,
    /// How rows became conversations; `None` for documents.
    pub(super) chat_record: Option<ChatRecord>,
    /// Documents without tokens.
    pub(super) empty_documents: u64,
    /// Tokens that are in no sequence.
    pub(super) dropped_tokens: u64,
    /// Counts for conversations; `None` for documents.
    pub(super) chat: Option<ChatSummary>,
    /// The sink that holds the sequences.
    pub(super) sink: ShardSink,
}
