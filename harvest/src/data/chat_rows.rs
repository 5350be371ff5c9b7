//! Reads instructions and replies from the files of a data manifest with `[chat]`.

use std::sync::Arc;

use hayloft_store::FileRecord;
use serde::Deserialize;

use super::documents::SubsetNames;
use super::parquet_rows::metadata;
use super::rows::{Content, Row};
use super::selection::SelectedRows;
use super::{ChatSettings, DataError, DataManifest, FieldPath, FileKind, LineProblem};
use crate::chat::Reply;

/// An instruction and its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRow {
    /// The row's index among all rows of the data manifest's files, from 0.
    pub row: u64,
    /// The user's text; empty if the field is empty or null.
    pub instruction: String,
    /// The model's reply; `None` if replies are not read.
    pub reply: Option<Reply>,
    /// The row's subset.
    pub subset: Option<Arc<str>>,
}

/// Whether replies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies<'expected> {
    /// Not read, and need not exist yet.
    Ignored,
    /// Read. A rollouts file holds token ids, so the tokenizer and the template must have these BLAKE3 hashes.
    Read {
        /// Hash of `tokenizer.json`.
        tokenizer_blake3: &'expected str,
        /// Hash of the chat template.
        template_blake3: &'expected str,
    },
}

/// Reads the selected instructions of a data manifest in order, one at a time.
pub struct ChatReader<'manifest> {
    manifest: &'manifest DataManifest,
    settings: &'manifest ChatSettings,
    rows: SelectedRows<'manifest>,
    subsets: SubsetNames,
    forms: Vec<ReplyForm>,
}

/// The form of replies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplyForm {
    Ignored,
    Text,
    Tokens,
}

/// Key of the record in a rollouts file's metadata.
pub const ROLLOUTS_KEY: &str = "hayloft.rollouts";

const TOKEN_IDS: &str = "rollout_token_ids";
const FINISH_REASON: &str = "finish_reason";

/// The version of the record and of the columns of a rollouts file.
pub(crate) const ROLLOUTS_FORMAT: u32 = 1;

/// The fields of the record that decide whether the token ids can be used.
#[derive(Deserialize)]
struct TokenIdsRecord {
    format: u32,
    tokenizer_blake3: String,
    template_blake3: String,
}

impl<'manifest> ChatReader<'manifest> {
    /// Checks that every file exists and that its token ids can be used. Positions before the first row.
    pub fn open(
        manifest: &'manifest DataManifest,
        settings: &'manifest ChatSettings,
        replies: Replies<'_>,
    ) -> Result<Self, DataError> {
        let mut forms = Vec::new();
        for file in &manifest.files {
            forms.push(match replies {
                Replies::Ignored => ReplyForm::Ignored,
                Replies::Read { tokenizer_blake3, template_blake3 } => match file.kind {
                    FileKind::Parquet => rollouts_form(&file.path, tokenizer_blake3, template_blake3)?,
                    _ => ReplyForm::Text,
                },
            });
        }
        let mut fields = vec![settings.instruction_field.clone()];
        fields.extend(manifest.subset_field.clone());
        if replies != Replies::Ignored {
            fields.push(settings.rollout_field.clone());
        }
        if forms.contains(&ReplyForm::Tokens) {
            fields.extend([FieldPath::known(TOKEN_IDS), FieldPath::known(FINISH_REASON)]);
        }
        let rows = SelectedRows::open(manifest, fields)?;
        Ok(Self { manifest, settings, rows, subsets: SubsetNames::default(), forms })
    }

    /// Ends reading, early or not. The current file is hashed to its end. Later files are not opened and not returned.
    pub fn finish(self) -> Result<Vec<FileRecord>, DataError> {
        self.rows.finish()
    }

    fn read(&mut self, row: &Row<'_>) -> Result<ChatRow, DataError> {
        let (token_ids, reason_field) = (FieldPath::known(TOKEN_IDS), FieldPath::known(FINISH_REASON));
        let text = |field, key| Ok::<_, DataError>(row.text(field, key)?.unwrap_or_default().to_owned());
        let rollout = || text(&self.settings.rollout_field, "chat.rollout_field");
        let form = self.forms.get(row.file_index()).copied().unwrap_or(ReplyForm::Ignored);
        let reply = match (form, &row.content) {
            (ReplyForm::Ignored, _) => None,
            (ReplyForm::Tokens, Content::Fields(fields)) => {
                let wrong = |problem| row.wrong(problem);
                let ids = token_ids.token_ids(fields, TOKEN_IDS).map_err(wrong)?;
                let reason = text(&reason_field, FINISH_REASON)?;
                let finish_reason = reason.parse().map_err(|_| {
                    row.wrong(LineProblem::FinishReason { field: FINISH_REASON.to_owned(), got: reason.clone() })
                })?;
                Some(Reply::Tokens { text: rollout()?, ids, finish_reason })
            }
            (ReplyForm::Text | ReplyForm::Tokens, _) => Some(Reply::Text(rollout()?)),
        };
        let instruction = text(&self.settings.instruction_field, "chat.instruction_field")?;
        let subset = self.subsets.of(row, self.manifest.subset_field.as_ref())?;
        Ok(ChatRow { row: row.index, instruction, reply, subset })
    }
}

impl Iterator for ChatReader<'_> {
    type Item = Result<ChatRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next().transpose()?;
        Some(row.and_then(|row| self.read(&row)))
    }
}

/// Returns the form of replies in a Parquet file: token ids for a rollouts file, whose tokenizer and template must
/// match.
fn rollouts_form(path: &std::path::Path, tokenizer: &str, template: &str) -> Result<ReplyForm, DataError> {
    let Some(text) = metadata(path, ROLLOUTS_KEY)? else { return Ok(ReplyForm::Text) };
    let different = |what, expected: &str, got: String| DataError::Rollouts {
        path: path.to_owned(),
        what,
        expected: expected.to_owned(),
        got,
    };
    let record: TokenIdsRecord = serde_json::from_str(&text)
        .map_err(|error| different(ROLLOUTS_KEY, "a record of how the rollouts were made", error.to_string()))?;
    if record.format != ROLLOUTS_FORMAT {
        return Err(different("format", &ROLLOUTS_FORMAT.to_string(), record.format.to_string()));
    }
    if record.tokenizer_blake3 != tokenizer {
        return Err(different("BLAKE3 of tokenizer.json", tokenizer, record.tokenizer_blake3));
    }
    if record.template_blake3 != template {
        return Err(different("BLAKE3 of the chat template", template, record.template_blake3));
    }
    Ok(ReplyForm::Tokens)
}
