//! Converts instructions and replies to sequences with sections.

use std::path::Path;

use hayloft_model::{SpecialToken, Tokenizer};
use rayon::prelude::*;

use super::corpus::chat_record;
use super::packing::{PackedSequence, Source, Span};
use super::planned::Planned;
use super::sink::ShardSink;
use crate::chat::{ChatError, ChatTemplate, EndOfTurn, Reply, conversation};
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
    bos: &SpecialToken,
    make_sink: impl FnOnce() -> Result<ShardSink, HarvestError>,
) -> Result<Planned, HarvestError> {
    let template = ChatTemplate::open(settings.template, checkpoint)?;
    let end_of_turn = end_of_turn(manifest, settings, &template, tokenizer)?;
    let chat_record = chat_record(settings, &template, &end_of_turn);
    let replies = Replies::Read { tokenizer_blake3: tokenizer.blake3(), template_blake3: &chat_record.template_blake3 };
    let mut rows = ChatReader::open(manifest, settings, replies)?;
    let maker = Maker { manifest, settings, template, tokenizer, bos, end_of_turn };
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
        let made: Vec<Result<Made, HarvestError>> = batch.par_iter().map(|row| maker.sequence(row)).collect();
        for made in made {
            let Made::Sequence(sequence, notes) = made? else {
                summary.skipped_rows += 1;
                continue;
            };
            let Some(left) = room.checked_sub(sequence.tokens.len() as u64) else { break 'rows };
            room = left;
            summary.empty_rollouts += u64::from(notes.is_empty);
            summary.unended_rollouts += u64::from(notes.is_unended);
            dropped_tokens += notes.dropped_tokens;
            sink.add(sequence)?;
        }
    }
    if sink.is_empty() {
        let manifest = manifest.path.clone();
        return Err(HarvestError::NoConversations { manifest, skipped: summary.skipped_rows });
    }
    Ok(Planned {
        files: rows.finish()?,
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

/// Converts rows to conversations.
struct Maker<'settings> {
    manifest: &'settings DataManifest,
    settings: &'settings ChatSettings,
    template: ChatTemplate,
    tokenizer: &'settings Tokenizer,
    bos: &'settings SpecialToken,
    end_of_turn: EndOfTurn,
}

/// A row as a sequence, or the reason why it is skipped.
enum Made {
    Sequence(PackedSequence, Notes),
    Unusable,
}

/// Counts of one conversation.
#[derive(Clone, Copy)]
struct Notes {
    is_empty: bool,
    is_unended: bool,
    dropped_tokens: u64,
}

impl Maker<'_> {
    fn sequence(&self, row: &ChatRow) -> Result<Made, HarvestError> {
        let nothing = Reply::Text(String::new());
        let (speech, ended) = self.end_of_turn.cut(row.reply.as_ref().unwrap_or(&nothing));
        let mut made = match conversation(&self.template, self.tokenizer, self.bos, &row.instruction, speech) {
            Ok(made) => made,
            Err(ChatError::EmptyInstruction) if self.settings.unusable_rows == UnusableRows::Skip => {
                return Ok(Made::Unusable);
            }
            Err(cause) => return Err(self.at_row(row, cause)),
        };
        let longest = self.manifest.context_length as usize;
        let prompt = made.prompt_length();
        if prompt >= longest {
            return match self.settings.unusable_rows {
                UnusableRows::Skip => Ok(Made::Unusable),
                UnusableRows::Refuse => Err(self.at_row(row, ChatError::LongPrompt { tokens: prompt, longest })),
            };
        }
        let dropped_tokens = made.tokens.len().saturating_sub(longest) as u64;
        let notes = Notes { is_empty: made.tokens.len() == prompt, is_unended: !ended, dropped_tokens };
        made.truncate(longest);
        let source = Source { document: row.row, subset: row.subset.clone() };
        let spans = vec![Span { source, length: made.tokens.len() as u32 }];
        Ok(Made::Sequence(PackedSequence { tokens: made.tokens, sections: made.sections, spans }, notes))
    }

    fn at_row(&self, row: &ChatRow, cause: ChatError) -> HarvestError {
        HarvestError::ChatRow { manifest: self.manifest.path.clone(), row: row.row, cause: Box::new(cause) }
    }
}
