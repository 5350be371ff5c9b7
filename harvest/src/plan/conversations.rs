//! Converts messages and replies to sequences with sections.

use std::path::Path;

use hayloft_model::{SpecialToken, Tokenizer};
use hayloft_store::{PackedSequence, Source, Span};
use rayon::prelude::*;

use super::records::chat_record;
use super::sink::{PlannedData, ShardSink};
use crate::chat::{ChatError, ChatTemplate, CutReply, EndOfTurn, Reply, conversation};
use crate::data::{ChatReader, ChatRow, ChatSettings, DataManifest, Replies, UnusableRows};
use crate::error::HarvestError;
use crate::summary::ChatSummary;

/// Conversations tokenised together, on all cores.
const BATCH_ROWS: usize = 1024;

/// Makes a sequence of each row, up to `max_tokens`.
pub(super) fn plan_conversations(
    manifest: &DataManifest,
    settings: &ChatSettings,
    checkpoint: &Path,
    tokenizer: &Tokenizer,
    bos: Option<&SpecialToken>,
    vocabulary: usize,
    make_sink: impl FnOnce() -> Result<ShardSink, HarvestError>,
) -> Result<PlannedData, HarvestError> {
    let template = ChatTemplate::open(settings.template, checkpoint)?;
    let end_of_turn = end_of_turn(manifest, settings, &template, tokenizer)?;
    let chat_record = chat_record(settings, &template, &end_of_turn);
    let replies = Replies::Read { tokenizer_blake3: tokenizer.blake3(), template_blake3: &chat_record.template_blake3 };
    let mut rows = ChatReader::open(manifest, settings, replies)?;
    let converter = RowConverter { manifest, settings, template, tokenizer, bos, vocabulary, end_of_turn };
    let mut sink = make_sink()?;
    let mut summary = ChatSummary::default();
    let mut dropped_tokens = 0;
    let mut room = manifest.max_tokens.map_or(u64::MAX, Into::into);
    'rows: loop {
        let batch: Vec<ChatRow> = rows.by_ref().take(BATCH_ROWS).collect::<Result<_, _>>()?;
        if batch.is_empty() {
            break;
        }
        // Results are collected in order, so the first bad row is the one reported.
        let made: Vec<_> = batch.par_iter().map(|row| converter.convert(row)).collect();
        for made in made {
            let Some(planned) = made? else {
                summary.skipped_rows += 1;
                continue;
            };
            let Some(left) = room.checked_sub(planned.sequence.tokens.len() as u64) else { break 'rows };
            room = left;
            summary.empty_rollouts += u64::from(planned.is_empty);
            summary.unended_rollouts += u64::from(planned.is_unended);
            dropped_tokens += planned.dropped_tokens;
            sink.add(planned.sequence)?;
        }
    }
    if sink.is_empty() {
        let manifest = manifest.path.clone();
        return Err(HarvestError::NoConversations { manifest, skipped: summary.skipped_rows });
    }
    let read = rows.finish()?;
    Ok(PlannedData {
        files: read.files,
        bad_rows: read.bad_rows,
        chat_record: Some(chat_record),
        empty_documents: 0,
        dropped_tokens,
        chat: Some(summary),
        sink,
    })
}

/// Returns the tokens before which replies are cut, as the data manifest sets them.
pub(crate) fn end_of_turn(
    manifest: &DataManifest,
    settings: &ChatSettings,
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
) -> Result<EndOfTurn, HarvestError> {
    let source = format!("{}: chat.end_of_turn", manifest.path.display());
    let found = EndOfTurn::find(settings.end_of_turn.as_deref(), &source, template, tokenizer)?;
    Ok(found.dropping_last_character(settings.study_quirk_drop_last_character))
}

/// Returns `None` in place of the error of a row that cannot be used if the data manifest skips such rows. Other errors
/// name the row.
pub(crate) fn usable<Made>(
    made: Result<Made, ChatError>,
    row: u64,
    manifest: &DataManifest,
    settings: &ChatSettings,
) -> Result<Option<Made>, HarvestError> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(ChatError::EmptyInstruction | ChatError::LongPrompt { .. })
            if settings.unusable_rows == UnusableRows::Skip =>
        {
            Ok(None)
        }
        Err(cause) => Err(HarvestError::ChatRow { manifest: manifest.path.clone(), row, cause: Box::new(cause) }),
    }
}

/// Converts rows to conversations.
struct RowConverter<'settings> {
    manifest: &'settings DataManifest,
    settings: &'settings ChatSettings,
    template: ChatTemplate,
    tokenizer: &'settings Tokenizer,
    bos: Option<&'settings SpecialToken>,
    vocabulary: usize,
    end_of_turn: EndOfTurn,
}

/// A conversation as a sequence.
struct PlannedConversation {
    sequence: PackedSequence,
    is_empty: bool,
    is_unended: bool,
    dropped_tokens: u64,
}

impl RowConverter<'_> {
    /// Returns `None` for a row that is skipped.
    fn convert(&self, row: &ChatRow) -> Result<Option<PlannedConversation>, HarvestError> {
        usable(self.conversation(row), row.row, self.manifest, self.settings)
    }

    fn conversation(&self, row: &ChatRow) -> Result<PlannedConversation, ChatError> {
        let no_reply = Reply::Text(String::new());
        let (reply, ended) = match &row.reply {
            Some(Reply::Text(text)) if row.is_complete => (CutReply::Text(text), true),
            other => self.end_of_turn.cut(other.as_ref().unwrap_or(&no_reply)),
        };
        let mut made = conversation(&self.template, self.tokenizer, self.bos, &row.messages, reply)?;
        self.tokenizer.check_ids(&made.tokens, self.vocabulary)?;
        let longest = self.manifest.context_length as usize;
        let prompt = made.prompt_length();
        if prompt >= longest {
            return Err(ChatError::LongPrompt { tokens: prompt, longest });
        }
        let (is_empty, is_unended) = (made.tokens.len() == prompt, !ended);
        let dropped_tokens = made.tokens.len().saturating_sub(longest) as u64;
        made.truncate(longest);
        let source = Source { document: row.row, subset: row.subset.clone() };
        let spans = vec![Span { source, length: made.tokens.len() as u32 }];
        let turns = if self.settings.messages_field.is_some() { made.turns } else { Vec::new() };
        let sequence = PackedSequence { tokens: made.tokens, sections: made.sections, turns, spans };
        Ok(PlannedConversation { sequence, is_empty, is_unended, dropped_tokens })
    }
}
