//! Builds prompts from instructions, and groups them into batches.

use std::ops::Range;

use hayloft_model::{SpecialToken, Tokenizer};
use rayon::prelude::*;

use super::error::RolloutError;
use super::file::is_instruction;
use crate::chat::{ChatError, ChatTemplate, Message, prompt_tokens};
use crate::data::{ChatReader, ChatRow, ChatSettings, DataManifest, Replies};
use crate::error::HarvestError;
use crate::plan::usable;

/// An instruction rendered with the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RenderedPrompt {
    /// The row's index among all rows of the data manifest's files.
    pub(super) row: u64,
    pub(super) instruction: String,
    /// The messages, where they are more than the instruction; else empty.
    pub(super) messages: Vec<Message>,
    /// The rendered text, without the BOS of the sequence.
    pub(super) prompt: String,
    /// The tokens, including BOS; shorter than the context.
    pub(super) tokens: Vec<u32>,
}

/// Builds prompts from rows.
pub(super) struct Prompter<'run> {
    pub(super) manifest: &'run DataManifest,
    pub(super) settings: &'run ChatSettings,
    pub(super) template: &'run ChatTemplate,
    pub(super) tokenizer: &'run Tokenizer,
    /// Rows of the model's embedding.
    pub(super) vocabulary: usize,
    pub(super) bos: Option<&'run SpecialToken>,
}

impl Prompter<'_> {
    /// Returns the prompts of the first `limit` selected rows, and the number of those rows that are skipped as
    /// unusable.
    pub(super) fn read(&self, limit: usize) -> Result<(Vec<RenderedPrompt>, u64), RolloutError> {
        let mut reader = ChatReader::open(self.manifest, self.settings, Replies::Ignored)?;
        let rows: Vec<ChatRow> = reader.by_ref().take(limit).collect::<Result<_, _>>()?;
        reader.finish()?;
        let made = rows.into_par_iter().map(|row| self.prompt(row)).collect::<Result<Vec<_>, _>>()?;
        let count = made.len();
        let prompts: Vec<RenderedPrompt> = made.into_iter().flatten().collect();
        let skipped = (count - prompts.len()) as u64;
        if prompts.is_empty() {
            return Err(HarvestError::NoConversations { manifest: self.manifest.path.clone(), skipped }.into());
        }
        Ok((prompts, skipped))
    }

    /// Returns `None` for an unusable row that is skipped.
    fn prompt(&self, row: ChatRow) -> Result<Option<RenderedPrompt>, HarvestError> {
        let rendered = usable(self.render(&row.messages), row.row, self.manifest, self.settings)?;
        let instruction = row.messages.last().map_or_else(String::new, |message| message.content.clone());
        let messages = if is_instruction(&row.messages) { Vec::new() } else { row.messages };
        let whole = |(prompt, tokens)| RenderedPrompt { row: row.row, instruction, messages, prompt, tokens };
        Ok(rendered.map(whole))
    }

    fn render(&self, messages: &[Message]) -> Result<(String, Vec<u32>), ChatError> {
        let tokens = prompt_tokens(self.template, self.tokenizer, self.bos, messages)?;
        self.tokenizer.check_ids(&tokens, self.vocabulary)?;
        let longest = self.manifest.context_length as usize;
        if tokens.len() >= longest {
            return Err(ChatError::LongPrompt { tokens: tokens.len(), longest });
        }
        Ok((self.template.dialogue(messages)?.text, tokens))
    }
}

/// Cuts prompts, in order, into batches of up to `batch_tokens` tokens: rows × (longest prompt + `max_new_tokens`).
/// A prompt above the limit has its own batch.
pub(super) fn batches(prompts: &[RenderedPrompt], max_new_tokens: usize, batch_tokens: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut longest) = (0, 0);
    for (index, prompt) in prompts.iter().enumerate() {
        let width = longest.max(prompt.tokens.len().saturating_add(max_new_tokens));
        if index > start && width.saturating_mul(index + 1 - start) > batch_tokens {
            batches.push(start..index);
            start = index;
            longest = prompt.tokens.len().saturating_add(max_new_tokens);
        } else {
            longest = width;
        }
    }
    if start < prompts.len() {
        batches.push(start..prompts.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lengths: &[usize], max_new_tokens: usize, batch_tokens: usize) -> Vec<Range<usize>> {
        let prompt = |length: &usize| RenderedPrompt {
            row: 0,
            instruction: String::new(),
            messages: Vec::new(),
            prompt: String::new(),
            tokens: vec![0; *length],
        };
        batches(&lengths.iter().map(prompt).collect::<Vec<_>>(), max_new_tokens, batch_tokens)
    }

    #[test]
    fn padding_and_room_count() {
        assert_eq!(cut(&[2, 2, 2, 2, 2], 2, 8), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&[1, 6, 1, 1, 1], 2, 16), [0..2, 2..5]);
        assert_eq!(cut(&[1, 1, 1, 6], 2, 9), [0..3, 3..4]);
        assert_eq!(cut(&[20, 1, 20], 2, 8), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&[1], usize::MAX, 8), std::slice::from_ref(&(0..1)));
        assert!(cut(&[], 2, 8).is_empty());
    }
}
