//! Reading documents: what is read from each kind of file, and one test for each way a file can be wrong.

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_harvest::{DataError, DataManifest, Document, DocumentReader, FilesRead, LineProblem};
use tempfile::TempDir;

/// A folder with data files and a manifest that names them in order.
struct Data {
    folder: TempDir,
    names: Vec<String>,
    settings: String,
}

impl Data {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), names: Vec::new(), settings: String::new() }
    }

    fn file(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.folder.path().join(name), bytes).unwrap();
        self.names.push(format!("[[files]]\npath = \"{name}\"\n"));
        self
    }

    fn set(mut self, line: &str) -> Self {
        self.settings.extend([line, "\n"]);
        self
    }

    /// A key of the file that was added last.
    fn set_file(mut self, line: &str) -> Self {
        self.names.last_mut().unwrap().extend([line, "\n"]);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn manifest(&self) -> DataManifest {
        let text = format!(
            "name = \"hay\"\npacking = \"concat\"\ncontext_length = 8\n{}{}",
            self.settings,
            self.names.concat()
        );
        let path = self.path("hay.toml");
        fs::write(&path, text).unwrap();
        DataManifest::open(&path, None).unwrap()
    }

    fn read(&self) -> Result<(Vec<Document>, FilesRead), DataError> {
        let manifest = self.manifest();
        let mut reader = DocumentReader::open(&manifest)?;
        let documents = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        Ok((documents, reader.finish()?))
    }

    fn texts(&self) -> Vec<String> {
        self.read().unwrap().0.into_iter().map(|document| document.text).collect()
    }

    fn error(&self) -> DataError {
        self.read().unwrap_err()
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// That an error is of this line of this file.
fn assert_line(error: &DataError, path: &Path, line: u64) -> String {
    let message = error.to_string();
    assert!(message.starts_with(&format!("{}, line {line}: ", path.display())), "{message}");
    message
}

#[test]
fn every_kind_of_file_is_read() {
    let lines = b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
    let data = Data::new()
        .file("a.jsonl", lines)
        .file("b.ndjson", lines)
        .file("c.jsonl.zst", zstd(lines))
        .file("d.txt", "three\nlines\n")
        .file("e.txt.zst", zstd(b"four"));
    assert_eq!(data.texts(), ["one", "two", "one", "two", "one", "two", "three\nlines\n", "four"]);
}

#[test]
fn files_are_recorded_as_they_lie_on_disk() {
    let compressed = zstd(b"{\"text\": \"one\"}\n");
    let (_, read) = Data::new().file("a.jsonl.zst", &compressed).file("b.txt", "two").read().unwrap();
    let found: Vec<_> = read.files.iter().map(|file| (file.path.as_str(), file.bytes, file.blake3.clone())).collect();
    assert_eq!(
        found,
        [
            ("a.jsonl.zst", compressed.len() as u64, blake3::hash(&compressed).to_hex().to_string()),
            ("b.txt", 3, blake3::hash(b"two").to_hex().to_string()),
        ]
    );
}

#[test]
fn blank_lines_are_passed_over_and_empty_documents_counted() {
    let data = Data::new()
        .file("a.jsonl", "\n{\"text\": \"\"}\r\n  \n{\"text\": \"one\"}\n{\"text\": null}\n")
        .file("b.txt", "");
    let (documents, read) = data.read().unwrap();
    assert_eq!(documents, [Document { index: 1, text: "one".to_owned(), subset: None }]);
    assert_eq!(read.empty_documents, 3);
}

#[test]
fn fields_may_lie_in_objects() {
    let data = Data::new()
        .set("text_field = \"meta.body\"\nsubset_field = \"meta.pile_set_name\"")
        .file("a.jsonl", "{\"meta\": {\"body\": \"one\", \"pile_set_name\": \"ArXiv\"}}\n{\"meta\": {\"body\": \"two\", \"pile_set_name\": null}}\n");
    let found: Vec<_> = data
        .read()
        .unwrap()
        .0
        .into_iter()
        .map(|document| (document.text, document.subset.map(|name| name.to_string())))
        .collect();
    assert_eq!(found, [("one".to_owned(), Some("ArXiv".to_owned())), ("two".to_owned(), None)]);
}

#[test]
fn a_seed_shuffles_the_same_way_each_time() {
    let lines = (0..50).map(|index| format!("{{\"text\": \"{index}\"}}\n")).collect::<Vec<_>>().concat();
    let data = |settings: &str| Data::new().set(settings).file("a.jsonl", &lines).texts();
    let in_order: Vec<String> = (0..50).map(|index| index.to_string()).collect();
    assert_eq!(data(""), in_order);
    let shuffled = data("seed = 1");
    assert_ne!(shuffled, in_order);
    assert_eq!(shuffled, data("seed = 1"));
    assert_ne!(shuffled, data("seed = 2"));
    assert_ne!(shuffled, data("seed = 1\nshuffle_buffer = 5"));
    let (documents, _) = Data::new().set("seed = 1").file("a.jsonl", &lines).read().unwrap();
    assert!(documents.iter().all(|document| document.index.to_string() == document.text));
}

#[test]
fn reading_may_end_early_and_hashes_the_file_all_the_same() {
    let long: String = (0..20_000).map(|_| "{\"text\": \"some text that fills buffers\"}\n").collect();
    let data = Data::new().file("a.jsonl", &long).file("b.txt", "never reached");
    let manifest = data.manifest();
    let mut reader = DocumentReader::open(&manifest).unwrap();
    reader.next().unwrap().unwrap();
    let read = reader.finish().unwrap();
    assert_eq!(read.files.len(), 1);
    assert_eq!(
        (read.files[0].bytes, read.files[0].blake3.as_str()),
        (long.len() as u64, blake3::hash(long.as_bytes()).to_hex().as_str())
    );
}

#[test]
fn malformed_line() {
    let data = Data::new().file("a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": oops}\n");
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 3);
    assert!(message.contains("expected one JSON object, got an error at column 10: expected value"), "{message}");
}

#[test]
fn malformed_line_in_a_compressed_file() {
    let data = Data::new().file("a.jsonl.zst", zstd(b"{\"text\": \"one\"}\n{\"text\""));
    assert_line(&data.error(), &data.path("a.jsonl.zst"), 2);
}

#[test]
fn two_objects_on_a_line() {
    let data = Data::new().file("a.jsonl", "{\"text\": \"one\"} {\"text\": \"two\"}\n");
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 1);
    assert!(message.contains("trailing characters"), "{message}");
}

#[test]
fn deeply_nested_line() {
    let data = Data::new().file("a.jsonl", "[".repeat(100_000));
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 1);
    assert!(message.contains("recursion limit"), "{message}");
}

#[test]
fn line_without_the_text_field() {
    let data = Data::new().file("a.jsonl", "{\"content\": \"one\", \"id\": 1}\n");
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 1);
    assert!(message.contains("expected the field \"text\", got an object with the fields [content, id]"), "{message}");
}

#[test]
fn line_whose_text_is_no_text() {
    let data = Data::new().file("a.jsonl", "{\"text\": [\"one\"]}\n");
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 1);
    assert!(message.contains("expected text in the field \"text\", got an array"), "{message}");
}

#[test]
fn line_without_the_subset_field() {
    let data = Data::new().set("subset_field = \"meta.subset\"").file("a.jsonl", "{\"text\": \"one\", \"meta\": {}}\n");
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 1);
    assert!(message.contains("\"meta.subset\"") && message.contains("subset_field"), "{message}");
}

#[test]
fn subset_field_that_is_an_identifier() {
    let lines =
        (0..2000).map(|index| format!("{{\"text\": \"one\", \"id\": \"{index}\"}}\n")).collect::<Vec<_>>().concat();
    let data = Data::new().set("subset_field = \"id\"").file("a.jsonl", lines);
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 1025);
    assert!(message.contains("more than 1024 subsets"), "{message}");
}

#[test]
fn a_subset_whose_name_is_a_text() {
    let line = |length: usize| format!("{{\"text\": \"hay\", \"meta\": \"{}\"}}\n", "a".repeat(length));
    let data = Data::new().set("subset_field = \"meta\"").file("a.jsonl", line(4096) + &line(4097));
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 2);
    assert!(message.contains("at most 4096 bytes"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_pipe_without_a_writer() {
    let data = Data::new().file("a.jsonl", "");
    fs::remove_file(data.path("a.jsonl")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(data.path("a.jsonl")).status().unwrap().success());
    let message = data.error().to_string();
    assert!(message.contains("expected a file, got something else"), "{message}");
}

#[test]
fn line_longer_than_the_limit() {
    let data = Data::new().file("a.jsonl.zst", zstd(&vec![b' '; (64 << 20) + 3]));
    let error = data.error();
    assert_line(&error, &data.path("a.jsonl.zst"), 1);
    assert!(matches!(error, DataError::Line { problem: LineProblem::TooLong { .. }, .. }));
}

#[test]
fn text_longer_than_the_limit() {
    let data = Data::new().file("a.txt.zst", zstd(&vec![b'a'; (64 << 20) + 1]));
    let message = data.error().to_string();
    assert!(message.contains("a.txt.zst: longer than 67108864 bytes"), "{message}");
}

#[test]
fn line_that_is_not_utf8() {
    let data = Data::new().file("a.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"\xff\"}\n");
    let message = assert_line(&data.error(), &data.path("a.jsonl"), 2);
    assert!(message.contains("expected UTF-8, got other bytes from byte 10 on"), "{message}");
}

#[test]
fn text_that_is_not_utf8() {
    let data = Data::new().file("a.txt", b"one \xe4");
    let message = data.error().to_string();
    assert!(message.contains("a.txt: expected UTF-8, got other bytes from byte 4 on"), "{message}");
}

#[test]
fn truncated_zstd() {
    let lines = (0..5000).map(|index| format!("{{\"text\": \"{index}\"}}\n")).collect::<Vec<_>>().concat();
    let mut compressed = zstd(lines.as_bytes());
    compressed.truncate(compressed.len() / 2);
    let data = Data::new().file("a.jsonl.zst", compressed);
    let message = data.error().to_string();
    assert!(message.contains("a.jsonl.zst: its zstd data is cut short or damaged"), "{message}");
}

#[test]
fn plain_text_named_zst() {
    let data = Data::new().file("a.jsonl.zst", "{\"text\": \"one\"}\n");
    assert!(matches!(data.error(), DataError::Compressed { bytes: 0, .. }));
}

#[test]
fn absent_file() {
    let mut data = Data::new().file("a.jsonl", "{\"text\": \"one\"}\n");
    data.names.push("[[files]]\npath = \"b.jsonl\"\n".to_owned());
    let message = data.error().to_string();
    assert!(message.contains("b.jsonl: cannot find") && message.contains("--data-root"), "{message}");
}

#[test]
fn folder_in_place_of_a_file() {
    let mut data = Data::new();
    fs::create_dir(data.path("a.jsonl")).unwrap();
    data.names.push("[[files]]\npath = \"a.jsonl\"\n".to_owned());
    let error = data.error();
    assert!(matches!(error, DataError::Io { action: "open", .. }), "{error}");
    assert!(error.to_string().contains("expected a file, got something else"), "{error}");
}

#[test]
fn another_hash() {
    let right = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"; // of "one"
    let data = Data::new().file("a.txt", "one").set_file(&format!("sha256 = \"{right}\""));
    assert_eq!(data.texts(), ["one"]);
    let data = Data::new().file("a.txt", "two").set_file(&format!("sha256 = \"{right}\""));
    let message = data.error().to_string();
    assert!(message.contains(&format!("a.txt: expected sha256 {right}, got 3fc4ccfe")), "{message}");
}
