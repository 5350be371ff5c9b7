//! Documents and instructions in each kind of file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use hayloft_harvest::RolloutRow;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use super::Seed;

/// The files that a data manifest of the fuzzer can name.
pub(crate) const FILES: [&str; 6] = ["a.jsonl", "b.json", "c.txt", "d.jsonl.zst", "e.parquet", "f.csv"];

const CSV: &str = "number,text\r\n1,Hay is dried grass.\r\n2,\"A \"\"loft\"\" is dry,\neven here\"\r\n";

/// What the seed of a rollouts file says that it was made with.
pub(crate) const TOKENIZER_BLAKE3: &str = "11";
pub(crate) const TEMPLATE_BLAKE3: &str = "22";

const TEXTS: [&str; 3] = ["Hay is dried grass.", "A \"loft\" is dry \u{e9}\u{1f33e}.\n", "Cows eat it."];

/// Writes one file of each kind.
pub(crate) fn write_files(folder: &Path) {
    let lines = json_lines();
    let files = [lines.clone(), json(), TEXTS[0].as_bytes().to_vec(), compressed(&lines), parquet(false), CSV.into()];
    for (name, bytes) in FILES.iter().zip(files) {
        fs::write(folder.join(name), bytes).expect("a file");
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let lines = json_lines();
    vec![
        ("json_lines", "three".to_owned(), lines.clone()),
        ("json", "array".to_owned(), json()),
        ("json", "stream".to_owned(), lines.clone()),
        ("csv", "two".to_owned(), CSV.into()),
        ("arrow", "datasets".to_owned(), ARROW.into()),
        ("zstd", "three".to_owned(), compressed(&lines)),
        ("parquet", "zstd".to_owned(), parquet(false)),
        ("parquet", "plain-dictionary".to_owned(), parquet(true)),
        ("rollouts", "two".to_owned(), rollouts()),
        ("data_manifest", "documents".to_owned(), DOCUMENTS.as_bytes().to_vec()),
        ("data_manifest", "conversations".to_owned(), CONVERSATIONS.as_bytes().to_vec()),
    ]
}

const DOCUMENTS: &str = "\
name = \"hay\"
packing = \"concat\"
context_length = 8
text_field = \"text\"
subset_field = \"meta.subset\"
max_tokens = 1000
seed = 3
shuffle_buffer = 4
bos = \"<s>\"
[[files]]
path = \"a.jsonl\"
[[files]]
path = \"c.txt\"
[[files]]
path = \"e.parquet\"
";

const CONVERSATIONS: &str = "\
name = \"hay\"
packing = \"per-document\"
context_length = 64
subset_field = \"meta.subset\"
[chat]
template = \"qwen\"
instruction_field = \"instruction\"
rollout_field = \"rollout\"
end_of_turn = \"</s>\"
unusable_rows = \"skip\"
[selection]
shuffle_seed = 42
first = 2
empty_field = \"input\"
[[files]]
path = \"b.json\"
[[files]]
path = \"d.jsonl.zst\"
";

fn row(index: usize) -> serde_json::Value {
    json!({
        "text": TEXTS[index], "instruction": TEXTS[index], "rollout": "Yes.", "input": "", "number": -1.5e3,
        "meta": { "subset": if index == 0 { "Books" } else { "ArXiv" }, "list": [[], {}, null, true] },
    })
}

/// What the `datasets` library wrote.
const ARROW: &[u8] = include_bytes!("../../../tests/fixtures/saved-dataset/dataset/data-00000-of-00002.arrow");

fn json_lines() -> Vec<u8> {
    (0..TEXTS.len()).flat_map(|index| format!("{}\n", row(index)).into_bytes()).collect()
}

fn json() -> Vec<u8> {
    let rows: Vec<_> = (0..TEXTS.len()).map(row).collect();
    serde_json::to_vec_pretty(&rows).expect("JSON")
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("a frame")
}

fn parquet(plain: bool) -> Vec<u8> {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(TEXTS));
    let subsets: ArrayRef = Arc::new(StringArray::from(vec![Some("Books"), None, Some("Books")]));
    let meta: ArrayRef = Arc::new(StructArray::try_from(vec![("subset", subsets)]).expect("one column"));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..TEXTS.len() as i64));
    let batch = RecordBatch::try_from_iter([
        ("text", Arc::clone(&texts)),
        ("instruction", texts),
        ("meta", meta),
        ("number", numbers),
    ])
    .expect("columns of one length");
    let compression =
        if plain { Compression::UNCOMPRESSED } else { Compression::ZSTD(parquet::basic::ZstdLevel::default()) };
    let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(plain).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("a batch");
    writer.close().expect("a footer");
    bytes
}

fn rollouts() -> Vec<u8> {
    let record = json!({
        "format": 1,
        "model": { "facts": { "dtype": "f32" }, "tensors_sha256": "33333333333" },
        "precision": "f32", "tokenizer_blake3": TOKENIZER_BLAKE3, "bos_id": 1, "template": "qwen",
        "template_blake3": TEMPLATE_BLAKE3, "sampling": { "method": "greedy" }, "logits_processors": {}, "max_new_tokens": 8,
        "context_length": 64, "stop_token_ids": [2], "end_of_turn": ["</s>"], "batch_tokens": 64,
    });
    let row = |row: usize| RolloutRow {
        row: row as u64,
        instruction: TEXTS[row].to_owned(),
        messages: Vec::new(),
        prompt: format!("[INST] {} [/INST]", TEXTS[row]),
        prompt_token_ids: vec![1, 5, 6],
        rollout: "Yes.".to_owned(),
        rollout_token_ids: vec![7, 8],
        finish_reason: "stop".parse().expect("a reason"),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rollouts.parquet");
    hayloft_harvest::fuzzing::rollouts_file(&path, &record.to_string(), &[row(0), row(1)]).expect("a rollouts file");
    fs::read(path).expect("a rollouts file")
}
