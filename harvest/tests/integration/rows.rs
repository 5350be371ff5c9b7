//! Rows of JSON arrays and Parquet tables, and which of them a selection takes.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, UInt32Builder};
use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use hayloft_harvest::{DataError, DataManifest, Document, DocumentReader, ROLLOUTS_KEY};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use tempfile::TempDir;

/// Instruction, text, token ids and finish reason.
pub type Rollout<'text> = (&'text str, &'text str, Vec<u32>, &'text str);

/// Writes a rollouts file as `harvest rollouts` does.
pub fn rollouts_file(path: &Path, rows: &[Rollout<'_>], tokenizer: &str, template: &str) {
    rollouts_file_of_format(1, path, rows, tokenizer, template);
}

/// A rollouts file whose record names this format.
pub fn rollouts_file_of_format(format: u32, path: &Path, rows: &[Rollout<'_>], tokenizer: &str, template: &str) {
    let text = |part: fn(&Rollout<'_>) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(part).map(Some).collect::<StringArray>())
    };
    let mut ids = ListBuilder::new(UInt32Builder::new());
    for (_, _, row, _) in rows {
        ids.append_value(row.iter().copied().map(Some));
    }
    let columns = [
        ("instruction", text(|row| row.0.to_owned())),
        ("rollout", text(|row| row.1.to_owned())),
        ("rollout_token_ids", Arc::new(ids.finish())),
        ("finish_reason", text(|row| row.3.to_owned())),
    ];
    let record = json!({"format": format, "tokenizer_blake3": tokenizer, "template_blake3": template});
    write(path, columns, vec![KeyValue::new(ROLLOUTS_KEY.to_owned(), record.to_string())]);
}

fn write<const N: usize>(path: &Path, columns: [(&str, ArrayRef); N], metadata: Vec<KeyValue>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    // As on the Hub: snappy, and groups of rows.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(3))
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Ten rows: texts `0` to `9`, of which those of odd rows have an `input`, in subsets of three.
fn table(path: &Path) {
    let texts: StringArray = (0..10).map(|row| Some(row.to_string())).collect();
    let inputs: StringArray = (0..10).map(|row| if row % 2 == 0 { None } else { Some("in") }).collect();
    let subsets: StringArray = (0..10).map(|row| Some(["a", "b", "c"][row % 3])).collect();
    let meta = StructArray::from(vec![(
        Arc::new(Field::new("pile_set_name", DataType::Utf8, true)),
        Arc::new(subsets) as ArrayRef,
    )]);
    let columns: [(&str, ArrayRef); 4] = [
        ("text", Arc::new(texts)),
        ("input", Arc::new(inputs)),
        ("meta", Arc::new(meta)),
        ("picture", Arc::new(BinaryArray::from(vec![&b"x"[..]; 10]))),
    ];
    write(path, columns, Vec::new());
}

fn array() -> String {
    let rows: Vec<_> =
        (0..10).map(|row| json!({"text": row.to_string(), "input": if row % 2 == 0 { "" } else { "in" }})).collect();
    serde_json::to_string_pretty(&rows).unwrap()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.json"), array()).unwrap();
        table(&folder.path().join("a.parquet"));
        Self(folder)
    }

    fn read(&self, file: &str, keys: &str) -> Result<Vec<Document>, DataError> {
        let path = self.0.path().join("hay.toml");
        let text =
            format!("name = \"hay\"\npacking = \"concat\"\ncontext_length = 8\n{keys}\n[[files]]\npath = \"{file}\"\n");
        fs::write(&path, text).unwrap();
        let manifest = DataManifest::open(&path, None)?;
        let mut reader = DocumentReader::open(&manifest)?;
        let documents = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        let read = reader.finish()?;
        let bytes = fs::read(self.0.path().join(file)).unwrap();
        assert_eq!(read.files[0].blake3, blake3::hash(&bytes).to_hex().to_string());
        assert_eq!((read.files.len(), read.files[0].bytes), (1, bytes.len() as u64));
        Ok(documents)
    }

    fn texts(&self, file: &str, keys: &str) -> String {
        self.read(file, keys).unwrap().into_iter().map(|document| document.text).collect()
    }

    fn error(&self, file: &str, keys: &str) -> String {
        self.read(file, keys).unwrap_err().to_string()
    }
}

#[test]
fn arrays_and_tables_are_read() {
    let folder = Folder::new();
    for file in ["a.json", "a.parquet"] {
        assert_eq!(folder.texts(file, ""), "0123456789", "{file}");
    }
    let documents = folder.read("a.parquet", "subset_field = \"meta.pile_set_name\"").unwrap();
    let subsets: String = documents.iter().map(|document| document.subset.clone().unwrap().to_string()).collect();
    assert_eq!(subsets, "abcabcabca");
}

#[test]
fn rows_are_shuffled_as_numpy_does_then_counted_then_filtered() {
    let folder = Folder::new();
    for file in ["a.json", "a.parquet"] {
        // numpy.random.default_rng(42).permutation(10)
        assert_eq!(folder.texts(file, "[selection]\nshuffle_seed = 42"), "5607324918");
        assert_eq!(folder.texts(file, "[selection]\nshuffle_seed = 42\nfirst = 4"), "5607");
        let keys = "[selection]\nshuffle_seed = 42\nfirst = 7\nempty_field = \"input\"";
        assert_eq!(folder.texts(file, keys), "6024");
        assert_eq!(folder.texts(file, "[selection]\nrows = [7, 2, 9]"), "729");
        assert_eq!(folder.texts(file, "[selection]\nrows = [7, 2, 9]\nempty_field = \"input\""), "2");
        assert_eq!(folder.texts(file, "[selection]\nfirst = 3"), "012");
        assert_eq!(folder.texts(file, "[selection]\nfirst = 99"), "0123456789");
    }
    let documents = folder.read("a.json", "[selection]\nshuffle_seed = 42\nfirst = 2").unwrap();
    assert_eq!(documents.iter().map(|document| document.index).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn a_missing_row() {
    let message = Folder::new().error("a.json", "[selection]\nrows = [3, 10]");
    assert!(message.contains("hay.toml: selection.rows: expected rows among the 10"), "{message}");
}

#[test]
fn a_missing_column_and_one_without_text() {
    let folder = Folder::new();
    let message = folder.error("a.parquet", "text_field = \"body\"");
    assert!(message.contains("a.parquet, row 0: expected the field \"body\""), "{message}");
    assert!(message.contains("[text, input, meta, picture]"), "{message}");
    let message = folder.error("a.parquet", "text_field = \"picture\"");
    assert!(message.contains("the column \"picture\", got the type Binary"), "{message}");
    let message = folder.error("a.parquet", "text_field = \"meta\"");
    assert!(message.contains("expected text in the field \"meta\", got an object"), "{message}");
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    write(&folder.0.path().join("b.parquet"), [("text", numbers)], Vec::new());
    let message = folder.error("b.parquet", "");
    assert!(message.contains("expected text in the field \"text\", got a number"), "{message}");
}

#[test]
fn a_damaged_table_or_array() {
    let folder = Folder::new();
    let path = folder.0.path().join("a.parquet");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let message = folder.error("a.parquet", "");
    assert!(message.contains("a.parquet: expected a whole Parquet file"), "{message}");
    fs::write(folder.0.path().join("a.json"), &array()[..200]).unwrap();
    let message = folder.error("a.json", "");
    assert!(message.contains("a.json, row") && message.contains("ends in the middle"), "{message}");
    fs::write(folder.0.path().join("a.json"), "[{\"text\": oops}]").unwrap();
    let message = folder.error("a.json", "");
    assert!(message.contains("a.json, row 0: expected one JSON object, got an error at column 10"), "{message}");
}

#[test]
fn a_table_of_another_hash() {
    let folder = Folder::new();
    let path = folder.0.path().join("hay.toml");
    let text = "name = \"hay\"\npacking = \"concat\"\ncontext_length = 8\n[[files]]\npath = \"a.parquet\"\nsha256 = \"";
    fs::write(&path, format!("{text}{}\"\n", "0".repeat(64))).unwrap();
    let manifest = DataManifest::open(&path, None).unwrap();
    let mut reader = DocumentReader::open(&manifest).unwrap();
    let error = reader.next().unwrap().unwrap_err();
    assert!(matches!(error, DataError::Hash { .. }), "{error}");
}
