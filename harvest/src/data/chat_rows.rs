//! Reads instructions and replies from the files of a data manifest with `[chat]`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::documents::SubsetNames;
use super::fields::Fields;
use super::messages::{TOOLS, check_tools, messages};
use super::parquet_rows::metadata;
use super::rows::{Content, Row};
use super::selection::SelectedRows;
use super::{BadRows, ChatSettings, DataError, DataManifest, FieldPath, FileKind, FilesRead, LineProblem};
use crate::chat::{Message, Reply, Role};

/// Messages and the reply to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRow {
    /// The row's index among all rows of the data manifest's files, from 0.
    pub row: u64,
    /// The messages before the reply. An instruction is one message of the user, empty if the field is empty or null.
    pub messages: Vec<Message>,
    /// The model's reply; `None` if replies are not read.
    pub reply: Option<Reply>,
    /// Whether the reply is a message, and so ends where its text does.
    pub is_complete: bool,
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
    bad_rows: u64,
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

/// The column of a rollouts file with the messages of prompts that are more than an instruction.
pub(crate) const ROLLOUTS_MESSAGES: &str = "messages";

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
        let mut fields = vec![settings.prompt_field().1.clone()];
        fields.extend(manifest.subset_field.clone());
        if replies != Replies::Ignored && settings.messages_field.is_none() {
            fields.push(settings.rollout_field.clone());
        }
        let mut optional = Vec::new();
        if let Some(file) = forms.iter().position(|form| *form == ReplyForm::Tokens) {
            if let Some(field) = &settings.messages_field {
                let (path, key) = (manifest.path.clone(), "chat.messages_field".to_owned());
                let expected = format!("none for {}, whose prompts and rollouts are read", manifest.files[file].named);
                return Err(DataError::Key { path, key, expected, got: field.to_string() });
            }
            fields.extend([FieldPath::known(TOKEN_IDS), FieldPath::known(FINISH_REASON)]);
            optional.push(FieldPath::known(ROLLOUTS_MESSAGES));
        }
        optional.extend(settings.messages_field.as_ref().map(|field| field.sibling(TOOLS)));
        let fields = Fields { required: fields, optional };
        let rows = SelectedRows::open(manifest, fields)?;
        Ok(Self { manifest, settings, rows, subsets: SubsetNames::default(), forms, bad_rows: 0 })
    }

    /// Ends reading, early or not. The current file is hashed to its end. Later files are not opened and not returned.
    pub fn finish(self) -> Result<FilesRead, DataError> {
        let read = self.rows.finish()?;
        Ok(FilesRead { files: read.files, empty_documents: 0, bad_rows: self.bad_rows + read.bad_rows })
    }

    fn read(&mut self, row: &Row<'_>) -> Result<ChatRow, DataError> {
        let subset = self.subsets.of(row, self.manifest.subset_field.as_ref())?;
        let mut messages = self.messages(row)?;
        if self.settings.messages_field.is_some() {
            let is_reply = messages.last().is_some_and(|message| message.role == Role::Assistant);
            let reply = messages.pop_if(|_| is_reply).map_or_else(String::new, |message| message.content);
            return Ok(ChatRow {
                row: row.index,
                messages,
                reply: Some(Reply::Text(reply)),
                is_complete: true,
                subset,
            });
        }
        let (reply, is_complete) = self.reply(row)?;
        Ok(ChatRow { row: row.index, messages, reply, is_complete, subset })
    }

    /// Returns the messages of the prompt, or with a field of messages those of the whole conversation.
    fn messages(&self, row: &Row<'_>) -> Result<Vec<Message>, DataError> {
        let (key, field) = self.settings.prompt_field();
        if let Content::Fields(fields) = &row.content {
            let own = FieldPath::known(ROLLOUTS_MESSAGES);
            let is_rollout = self.forms.get(row.file_index()) == Some(&ReplyForm::Tokens);
            if let Some(value) = own.get(fields).filter(|value| is_rollout && value.is_array()) {
                return messages(&own, value, ROLLOUTS_MESSAGES).map_err(|problem| row.wrong(problem));
            }
            let value = field.value(fields, key).map_err(|problem| row.wrong(problem))?;
            if self.settings.messages_field.is_some() {
                check_tools(field, fields).map_err(|problem| row.wrong(problem))?;
            }
            if value.is_array() || self.settings.messages_field.is_some() {
                return messages(field, value, key).map_err(|problem| row.wrong(problem));
            }
        }
        Ok(vec![Message::new(Role::User, row.text(field, key)?.unwrap_or_default())])
    }

    /// Returns the reply of a row, and whether it is a message.
    fn reply(&self, row: &Row<'_>) -> Result<(Option<Reply>, bool), DataError> {
        let (token_ids, reason_field) = (FieldPath::known(TOKEN_IDS), FieldPath::known(FINISH_REASON));
        let text = |field, key| Ok::<_, DataError>(row.text(field, key)?.unwrap_or_default().to_owned());
        let (field, key) = (&self.settings.rollout_field, "chat.rollout_field");
        let wrong = |problem| row.wrong(problem);
        let form = self.forms.get(row.file_index()).copied().unwrap_or(ReplyForm::Ignored);
        Ok(match (form, &row.content) {
            (ReplyForm::Ignored, _) => (None, false),
            (ReplyForm::Tokens, Content::Fields(fields)) => {
                let ids = token_ids.token_ids(fields, TOKEN_IDS).map_err(wrong)?;
                let reason = text(&reason_field, FINISH_REASON)?;
                let finish_reason = reason.parse().map_err(|_| {
                    row.wrong(LineProblem::FinishReason { field: FINISH_REASON.to_owned(), got: reason.clone() })
                })?;
                (Some(Reply::Tokens { text: text(field, key)?, ids, finish_reason }), false)
            }
            (ReplyForm::Text, Content::Fields(fields)) if field.get(fields).is_some_and(Value::is_array) => {
                let value = field.value(fields, key).map_err(wrong)?;
                let reply = <[Message; 1]>::try_from(messages(field, value, key).map_err(wrong)?);
                let Ok([Message { role: Role::Assistant, content }]) = reply else {
                    let (field, got) = (field.to_string(), "others than one of the assistant".to_owned());
                    return Err(wrong(LineProblem::NotMessages { field, got, key }));
                };
                (Some(Reply::Text(content)), true)
            }
            (ReplyForm::Text | ReplyForm::Tokens, _) => (Some(Reply::Text(text(field, key)?)), false),
        })
    }
}

impl Iterator for ChatReader<'_> {
    type Item = Result<ChatRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = match self.rows.next().transpose()? {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            match self.read(&row) {
                Err(error) if self.manifest.bad_rows == BadRows::Skip && error.is_of_a_row() => self.bad_rows += 1,
                read => return Some(read),
            }
        }
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
