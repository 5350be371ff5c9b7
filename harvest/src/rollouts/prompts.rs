//! Builds prompts from instructions.

use hayloft_model::{SpecialToken, Tokenizer};
use rayon::prelude::*;

use super::error::RolloutError;
use crate::chat::{ChatError, ChatTemplate, prompt_tokens};
use crate::data::{ChatReader, ChatRow, ChatSettings, DataManifest, Replies, UnusableRows};
use crate::error::HarvestError;

/// An instruction rendered with the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The row's index among all rows of the data manifest's files.
    pub(super) row: u64,
    pub(super) instruction: String,
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
    pub(super) bos: &'run SpecialToken,
}

impl Prompter<'_> {
    /// Returns the prompts of the first `limit` selected rows, and the number of those rows that are skipped as
    /// unusable.
    pub(super) fn read(&self, limit: usize) -> Result<(Vec<Asked>, u64), RolloutError> {
        let mut reader = ChatReader::open(self.manifest, self.settings, Replies::Ignored)?;
        let rows: Vec<ChatRow> = reader.by_ref().take(limit).collect::<Result<_, _>>()?;
        reader.finish()?;
        let made = rows.into_par_iter().map(|row| self.prompt(row)).collect::<Result<Vec<_>, _>>()?;
        let count = made.len();
        let prompts: Vec<Asked> = made.into_iter().flatten().collect();
        let skipped = (count - prompts.len()) as u64;
        if prompts.is_empty() {
            return Err(HarvestError::NoConversations { manifest: self.manifest.path.clone(), skipped }.into());
        }
        Ok((prompts, skipped))
    }

    /// Returns `None` for an unusable row that is skipped.
    fn prompt(&self, row: ChatRow) -> Result<Option<Asked>, HarvestError> {
        match self.ask(&row.instruction) {
            Ok((prompt, tokens)) => Ok(Some(Asked { row: row.row, instruction: row.instruction, prompt, tokens })),
            Err(ChatError::EmptyInstruction | ChatError::LongPrompt { .. })
                if self.settings.unusable_rows == UnusableRows::Skip =>
            {
                Ok(None)
            }
            Err(cause) => Err(HarvestError::ChatRow {
                manifest: self.manifest.path.clone(),
                row: row.row,
                cause: Box::new(cause),
            }),
        }
    }

    fn ask(&self, instruction: &str) -> Result<(String, Vec<u32>), ChatError> {
        let tokens = prompt_tokens(self.template, self.tokenizer, self.bos, instruction)?;
        let longest = self.manifest.context_length as usize;
        if tokens.len() >= longest {
            return Err(ChatError::LongPrompt { tokens: tokens.len(), longest });
        }
        Ok((self.template.prompt(instruction)?.text, tokens))
    }
}
