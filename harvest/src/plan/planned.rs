//! What was planned.

use hayloft_store::{ChatRecord, FileRecord};

use super::sink::ShardSink;
use crate::summary::ChatSummary;

/// What became of the data, with the sequences all in the sink.
pub(super) struct Planned {
    /// The files that were read.
    pub(super) files: Vec<FileRecord>,
    /// How rows became conversations, if they did.
    pub(super) chat_record: Option<ChatRecord>,
    /// Documents that gave no tokens.
    pub(super) empty_documents: u64,
    /// Tokens that are in no sequence.
    pub(super) dropped_tokens: u64,
    /// What was counted of conversations, if rows became such.
    pub(super) chat: Option<ChatSummary>,
    /// Where the sequences went.
    pub(super) sink: ShardSink,
}
