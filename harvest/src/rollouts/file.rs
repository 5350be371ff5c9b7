//! Rollouts as Parquet: written atomically, and read back.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder, UInt32Builder};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use hayloft_model::FinishReason;
use hayloft_store::safe_parquet::ParquetFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::NamedTempFile;

use super::error::RolloutError;
use super::record::RolloutsRecord;
use crate::chat::{Message, Role};
use crate::data::{PARQUET_LIMITS, ROLLOUTS_KEY, ROLLOUTS_MESSAGES as MESSAGES};

/// Rows in a row group, which the writer holds in memory.
const ROW_GROUP_ROWS: usize = 8192;

/// Rows decoded at a time; texts may be long.
const READ_ROWS: usize = 8;

/// Limit on the memory of all rows: a base, plus a factor of the file size. Dictionary encoding can repeat one text in
/// every row.
const MOST_BYTES: u64 = 64 << 20;
const MOST_RATIO: u64 = 64;

/// The recorded writer. It has no version, so that a new release writes the same bytes.
const CREATED_BY: &str = "hayloft";

/// A row of a rollouts file: an instruction and the model's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutRow {
    /// The instruction's index among all rows of the data manifest's files, from 0.
    pub row: u64,
    /// The user's text, of several turns the last.
    pub instruction: String,
    /// The messages of the prompt, where they are more than the instruction; else empty.
    pub messages: Vec<Message>,
    /// The rendered prompt up to the start of the reply, without the BOS of the sequence.
    pub prompt: String,
    /// The prompt's tokens, including BOS.
    pub prompt_token_ids: Vec<u32>,
    /// The reply, without special tokens.
    pub rollout: String,
    /// The reply's tokens, without the token that ended the turn.
    pub rollout_token_ids: Vec<u32>,
    /// The reason for which generation ended.
    pub finish_reason: FinishReason,
}

/// Writes a rollouts file. The file appears at its path only when complete.
pub(super) struct RolloutsWriter<'path> {
    path: &'path Path,
    writer: ArrowWriter<NamedTempFile>,
    schema: SchemaRef,
    form: PromptForm,
}

/// What a file has of the prompts beside the last instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PromptForm {
    /// Nothing: the instruction is all.
    Instruction,
    /// The column `messages`, with all messages of every prompt.
    Messages,
}

impl PromptForm {
    /// The form that a file with these prompts' messages takes.
    pub(super) fn of<'row>(mut messages: impl Iterator<Item = &'row [Message]>) -> Self {
        if messages.any(|messages| !messages.is_empty()) { Self::Messages } else { Self::Instruction }
    }
}

impl<'path> RolloutsWriter<'path> {
    /// Begins a file in an existing folder.
    pub(super) fn create(path: &'path Path, record: &RolloutsRecord, form: PromptForm) -> Result<Self, RolloutError> {
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata(Some(vec![KeyValue::new(ROLLOUTS_KEY.to_owned(), record.to_json())]));
        // Without the Arrow schema in the footer, the file is plain Parquet.
        let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The usual permissions, less the umask: these files are shared.
        let permissions = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new()
            .prefix(".")
            .suffix(".partial")
            .permissions(permissions)
            .tempfile_in(folder)
            .map_err(RolloutError::io(path, "be written"))?;
        let schema = schema(form);
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options)
            .map_err(|error| unwritten(path, error))?;
        Ok(Self { path, writer, schema, form })
    }

    /// Adds rows.
    pub(super) fn write(&mut self, rows: &[RolloutRow]) -> Result<(), RolloutError> {
        let texts = |text: fn(&RolloutRow) -> &str| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(text(row))).collect::<StringArray>())
        };
        let ids = |ids: fn(&RolloutRow) -> &[u32]| -> ArrayRef {
            let mut lists = ListBuilder::new(UInt32Builder::new()).with_field(element());
            for row in rows {
                lists.values().append_slice(ids(row));
                lists.append(true);
            }
            Arc::new(lists.finish())
        };
        let mut columns = vec![
            Arc::new(rows.iter().map(|row| row.row).collect::<UInt64Array>()) as ArrayRef,
            texts(|row| &row.instruction),
            texts(|row| &row.prompt),
            ids(|row| &row.prompt_token_ids),
            texts(|row| &row.rollout),
            ids(|row| &row.rollout_token_ids),
            texts(|row| row.finish_reason.as_str()),
        ];
        if self.form == PromptForm::Messages {
            columns.push(message_lists(rows));
        }
        let batch =
            RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| unwritten(self.path, error))?;
        self.writer.write(&batch).map_err(|error| unwritten(self.path, error))
    }

    /// Moves the complete file to its path.
    pub(super) fn finish(self) -> Result<(), RolloutError> {
        let failed = RolloutError::io(self.path, "be written");
        let file = self.writer.into_inner().map_err(|error| unwritten(self.path, error))?;
        let placed = file.as_file().sync_all().and_then(|()| Ok(file.persist(self.path)?));
        placed.map(|_| ()).map_err(failed)
    }
}

/// Writes a rollouts file.
pub(crate) fn write_rollouts(path: &Path, record: &RolloutsRecord, rows: &[RolloutRow]) -> Result<(), RolloutError> {
    let form = PromptForm::of(rows.iter().map(|row| row.messages.as_slice()));
    let mut writer = RolloutsWriter::create(path, record, form)?;
    writer.write(rows)?;
    writer.finish()
}

/// Reads a rollouts file and its record.
pub fn read_rollouts(path: &Path) -> Result<(RolloutsRecord, Vec<RolloutRow>), RolloutError> {
    let damaged = |problem: String| RolloutError::Damaged { path: path.to_owned(), problem };
    let file = File::open(path).map_err(RolloutError::io(path, "be read"))?;
    let bytes = file.metadata().map_err(RolloutError::io(path, "be read"))?.len();
    let file = ParquetFile::open(file, PARQUET_LIMITS).map_err(|error| damaged(error.to_string()))?;
    let pairs = file.metadata().file_metadata().key_value_metadata();
    let text = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == ROLLOUTS_KEY)?.value.as_deref());
    let record: RolloutsRecord = serde_json::from_str(text.unwrap_or_default())
        .map_err(|error| damaged(format!("expected a record of how it was made as {ROLLOUTS_KEY}: {error}")))?;
    if record.format != RolloutsRecord::FORMAT {
        return Err(damaged(format!("expected format {}, got {}", RolloutsRecord::FORMAT, record.format)));
    }
    let reader = file.batches(ProjectionMask::all(), READ_ROWS).map_err(|error| damaged(error.to_string()))?;
    let mut rows = Vec::new();
    let mut left = MOST_BYTES.saturating_add(bytes.saturating_mul(MOST_RATIO));
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let too_much = || damaged(format!("expected texts that {bytes} bytes can hold, got more"));
        left = left.checked_sub(batch.get_array_memory_size() as u64).ok_or_else(too_much)?;
        take_rows(&batch, &mut rows).map_err(damaged)?;
    }
    Ok((record, rows))
}

/// Appends the rows of a batch.
fn take_rows(batch: &RecordBatch, rows: &mut Vec<RolloutRow>) -> Result<(), String> {
    let row: &UInt64Array = column(batch, "row")?;
    let [instruction, prompt, rollout, finish_reason] =
        ["instruction", "prompt", "rollout", "finish_reason"].map(|name| column::<StringArray>(batch, name));
    let (instruction, prompt, rollout, finish_reason) = (instruction?, prompt?, rollout?, finish_reason?);
    let prompt_ids: &ListArray = column(batch, "prompt_token_ids")?;
    let rollout_ids: &ListArray = column(batch, "rollout_token_ids")?;
    let ids = |lists: &ListArray, index: usize| {
        let list = lists.value(index);
        let list = list.as_any().downcast_ref::<UInt32Array>().ok_or("expected token ids as 32-bit numbers")?;
        Ok::<Vec<u32>, String>(list.values().to_vec())
    };
    let messages = batch.column_by_name(MESSAGES).map(|_| column::<ListArray>(batch, MESSAGES)).transpose()?;
    for index in 0..batch.num_rows() {
        let messages = messages.map_or_else(|| Ok(Vec::new()), |lists| read_messages(&lists.value(index)))?;
        rows.push(RolloutRow {
            row: row.value(index),
            instruction: instruction.value(index).to_owned(),
            messages: if is_instruction(&messages) { Vec::new() } else { messages },
            prompt: prompt.value(index).to_owned(),
            prompt_token_ids: ids(prompt_ids, index)?,
            rollout: rollout.value(index).to_owned(),
            rollout_token_ids: ids(rollout_ids, index)?,
            finish_reason: finish_reason.value(index).parse().map_err(|error| format!("{error}"))?,
        });
    }
    Ok(())
}

/// Returns a column by name. The column must have no nulls.
fn column<'batch, T: Array + 'static>(batch: &'batch RecordBatch, name: &str) -> Result<&'batch T, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("expected the column {name}, got none"))?;
    if column.null_count() > 0 {
        return Err(format!("column {name}: expected a value in every row"));
    }
    let got = column.data_type();
    column.as_any().downcast_ref().ok_or_else(|| format!("column {name}: expected another type, got {got}"))
}

/// Whether messages are one of the user, which the column `instruction` has.
pub(super) fn is_instruction(messages: &[Message]) -> bool {
    matches!(messages, [Message { role: Role::User, .. }])
}

/// The column `messages`.
fn message_lists(rows: &[RolloutRow]) -> ArrayRef {
    let structs = StructBuilder::from_fields(message_fields(), rows.len());
    let mut lists = ListBuilder::new(structs).with_field(message_element());
    for row in rows {
        let instruction = [Message::new(Role::User, row.instruction.as_str())];
        let messages = if row.messages.is_empty() { instruction.as_slice() } else { row.messages.as_slice() };
        let values = lists.values();
        for message in messages {
            for (field, text) in [message.role.as_str(), &message.content].into_iter().enumerate() {
                // The fields are texts by `message_fields`.
                if let Some(texts) = values.field_builder::<StringBuilder>(field) {
                    texts.append_value(text);
                }
            }
            values.append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn read_messages(list: &ArrayRef) -> Result<Vec<Message>, String> {
    let wrong = || format!("column {MESSAGES}: expected lists of role and content");
    let messages = list.as_any().downcast_ref::<StructArray>().ok_or_else(wrong)?;
    let texts = |name: &str| -> Result<&StringArray, String> {
        let column = messages.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>());
        column.filter(|column| column.null_count() == 0).ok_or_else(wrong)
    };
    let (roles, contents) = (texts("role")?, texts("content")?);
    let message = |index| Ok(Message::new(Role::of(roles.value(index))?, contents.value(index)));
    (0..messages.len()).map(message).collect()
}

fn message_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::Utf8, false), Field::new("content", DataType::Utf8, false)])
}

/// The element of the column `messages`.
fn message_element() -> Field {
    Field::new("element", DataType::Struct(message_fields()), false)
}

fn schema(form: PromptForm) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let ids = |name: &str| Field::new(name, DataType::List(Arc::new(element())), false);
    let mut fields = vec![
        Field::new("row", DataType::UInt64, false),
        text("instruction"),
        text("prompt"),
        ids("prompt_token_ids"),
        text("rollout"),
        ids("rollout_token_ids"),
        text("finish_reason"),
    ];
    if form == PromptForm::Messages {
        fields.push(Field::new(MESSAGES, DataType::List(Arc::new(message_element())), false));
    }
    Arc::new(Schema::new(fields))
}

/// The list element field, with the name that the Parquet specification gives it.
fn element() -> Field {
    Field::new("element", DataType::UInt32, false)
}

fn unwritten(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RolloutError {
    RolloutError::io(path, "be written")(std::io::Error::other(error))
}
