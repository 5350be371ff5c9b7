//! Reading documents: what is read from each kind of file, and one test for each way a file can be wrong.

use std::fs;
use std::io::Write;
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
    assert_eq!(documents, [Document { index: 1, text: "one".to_owned(), tokens: None, subset: None }]);
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
    assert_line(&data.error(), &data.path("a.jsonl"), 1);
    let data = Data::new().file("a.jsonl", format!("{{\"text\": {}", "[".repeat(100_000)));
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
fn device_or_folder_in_place_of_a_file() {
    let mut data = Data::new();
    std::os::unix::fs::symlink("/dev/null", data.path("a.jsonl")).unwrap();
    data.names.push("[[files]]\npath = \"a.jsonl\"\n".to_owned());
    let error = data.error();
    fs::create_dir(data.path("b.jsonl")).unwrap();
    fs::write(data.path("hay.toml"), fs::read_to_string(data.path("hay.toml")).unwrap().replace("a.jsonl", "b.jsonl"))
        .unwrap();
    let folder = DataManifest::open(&data.path("hay.toml"), None).unwrap_err().to_string();
    assert!(folder.contains("b.jsonl: expected a folder with files"), "{folder}");
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

/// Two lines, by `xz`.
const XZ: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3e00020001e5d003d888a86948813e0f38724b4e0fb1338d195168dea2bee409978df06a00000000040fbc05e123b7d5a00013a210c7b46491fb6f37d010000000004595a";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const LINES: &[u8] = b"{\"text\": \"hay\"}\n{\"text\": \"barn\"}\n";

#[test]
fn compression_is_told_by_the_first_bytes() {
    let two_members = [gzip(&LINES[..5]), gzip(&LINES[5..])].concat();
    for (name, bytes) in [
        ("a.jsonl.gz", gzip(LINES)),
        ("a.jsonl", gzip(LINES)),
        ("a.json.gz", two_members),
        ("a.jsonl.xz", unhex(XZ)),
        ("a.jsonl", zstd(LINES)),
        ("a.jsonl.gz", zstd(LINES)),
    ] {
        assert_eq!(Data::new().file(name, bytes).texts(), ["hay", "barn"], "{name}");
    }
    let cut = gzip(LINES)[..30].to_vec();
    let message = Data::new().file("a.jsonl.gz", cut).error().to_string();
    assert!(message.contains("gzip data is cut short"), "{message}");
    let message = Data::new().file("a.jsonl.gz", LINES).error().to_string();
    assert!(message.contains("gzip"), "{message}");
    let mut damaged = unhex(XZ);
    damaged[40] ^= 1;
    let message = Data::new().file("a.jsonl.xz", damaged).error().to_string();
    assert!(message.contains("xz data is cut short or damaged"), "{message}");
}

#[test]
fn files_in_the_place_of_others_are_named() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    for name in ["a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet", "a.arrow", "a.jsonl.gz"] {
        let message = Data::new().file(name, lfs).error().to_string();
        assert!(message.contains(name) && message.contains("git lfs pull"), "{name}: {message}");
        if name != "a.txt" {
            let message = Data::new().file(name, "<!DOCTYPE html><html></html>").error().to_string();
            assert!(message.contains("got a web page"), "{name}: {message}");
        }
    }
    assert_eq!(Data::new().file("a.txt", "<html>hay</html>").texts(), ["<html>hay</html>"]);
    for name in ["a.jsonl", "a.txt"] {
        let message = Data::new().file(name, b"PK\x03\x04\x14\0").error().to_string();
        assert!(message.contains("got a ZIP archive"), "{message}");
        let message = Data::new().file(name, b"{\0\"\0t\0").error().to_string();
        assert!(message.contains("UTF-16"), "{message}");
    }
}

/// What a data manifest must have beside files.
const KEYS: &str = "name = \"hay\"\npacking = \"concat\"\ncontext_length = 8\n";

#[test]
fn advice_is_about_the_cause() {
    let said = |name: &str, text: &[u8]| Data::new().file(name, text).error().to_string();
    assert!(said("a.jsonl.gz", LINES).contains("expected gzip data, as its name says, got other bytes"));
    assert!(said("a.jsonl", b"[{\"text\": \"hay\"}]").contains("got an array. A file of JSON objects"));
    assert!(said("a.jsonl", b"\"hay\"").contains("got a string. A file of JSON objects"));
    assert!(said("a.jsonl", b"hay and barn").contains("plain text has a name that ends in .txt"));
    assert!(!said("a.jsonl", b"{\"text\": hay}").contains(".txt"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hay.toml");
    fs::write(&path, format!("{KEYS}[[files]]\npath = \"a/pile\"\n")).unwrap();
    let message = DataManifest::open(&path, None).unwrap_err().to_string();
    assert!(message.contains("a/pile: cannot find"), "{message}");
}

/// The folder that `datasets` saved, and its rows as `datasets` reads them back (`scripts/goldens/saved_dataset.py`).
fn saved() -> (PathBuf, Vec<serde_json::Value>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/saved-dataset");
    let rows = serde_json::from_slice(&fs::read(folder.join("rows.json")).unwrap()).unwrap();
    (folder.join("dataset"), rows)
}

#[test]
fn a_folder_that_datasets_saved_is_read_as_datasets_reads_it() {
    let (folder, rows) = saved();
    let mut data = Data::new().set("subset_field = \"meta.subset\"");
    data.names.push(format!("[[files]]\npath = {:?}\n", folder.display().to_string()));
    let (documents, read) = data.read().unwrap();
    let wanted = rows.iter().enumerate().filter_map(|(index, row)| {
        let text = row["text"].as_str().filter(|text| !text.is_empty())?;
        Some((index as u64, text, row["meta"]["subset"].as_str()))
    });
    let got = documents.iter().map(|it| (it.index, it.text.as_str(), it.subset.as_deref()));
    assert_eq!(got.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    assert_eq!((read.files.len(), read.empty_documents), (2, 2));
    let bytes = fs::read(folder.join("data-00001-of-00002.arrow")).unwrap();
    assert_eq!(read.files[1].blake3, blake3::hash(&bytes).to_hex().to_string());

    let tokens = Data::new().set("tokens_field = \"ids\"").file("a.arrow", &bytes);
    let ids = |row: &serde_json::Value| serde_json::from_value::<Vec<u32>>(row["ids"].clone()).unwrap();
    let got = tokens.read().unwrap().0.into_iter().map(|document| document.tokens.unwrap());
    assert_eq!(got.collect::<Vec<_>>(), rows[3..].iter().map(ids).collect::<Vec<_>>());

    let message = Data::new().set("text_field = \"story\"").file("a.arrow", &bytes).error().to_string();
    assert!(message.contains("row 0") && message.contains("[number, text, meta, ids, messages]"), "{message}");
    for length in [0, 2, 6, 100, bytes.len() / 2] {
        let message = Data::new().file("a.arrow", &bytes[..length]).error().to_string();
        assert!(message.contains("a.arrow: expected an Arrow stream"), "{length}: {message}");
    }
}

#[test]
fn a_saved_folder_that_says_otherwise_is_refused() {
    let (folder, _) = saved();
    let refusal = |change: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        // What `map` leaves is passed over.
        fs::write(copy.path().join("cache-0123.arrow"), "").unwrap();
        change(copy.path());
        let path = copy.path().join("hay.toml");
        fs::write(&path, format!("{KEYS}[[files]]\npath = {:?}\n", copy.path().display().to_string())).unwrap();
        DataManifest::open(&path, None).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(refusal(&|_| ()), Ok(()));
    let message = refusal(&|copy| fs::remove_file(copy.join("data-00001-of-00002.arrow")).unwrap()).unwrap_err();
    assert!(message.contains("expected the files data-00000-of-00002.arrow, data-00001"), "{message}");
    let indices = r#"{"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}"#;
    let message = refusal(&|copy| fs::write(copy.join("state.json"), indices).unwrap()).unwrap_err();
    assert!(message.contains("flatten_indices"), "{message}");
}

#[test]
fn a_bomb_is_a_refusal() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..80 {
        encoder.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    for name in ["a.jsonl.gz", "a.csv.gz", "a.txt.gz"] {
        let message = Data::new().file(name, &bytes).error().to_string();
        assert!(message.contains("longer than"), "{name}: {message}");
    }
}

#[test]
fn byte_order_marks_are_passed_over_or_named() {
    let mark = b"\xef\xbb\xbf";
    for (name, bytes) in [("a.jsonl", LINES.to_vec()), ("a.csv", b"text\nhay\nbarn\n".to_vec())] {
        let marked = [mark, bytes.as_slice()].concat();
        assert_eq!(Data::new().file(name, &marked).texts(), ["hay", "barn"], "{name}");
        assert_eq!(Data::new().file(&format!("{name}.gz"), gzip(&marked)).texts(), ["hay", "barn"], "{name}");
    }
    assert_eq!(Data::new().file("a.txt", [mark, b"hay\r\nbarn".as_slice()].concat()).texts(), ["hay\nbarn"]);
    for mark in [b"\xff\xfe", b"\xfe\xff"] {
        let message = Data::new().file("a.jsonl", [mark, b"{\0".as_slice()].concat()).error().to_string();
        assert!(message.contains("UTF-16"), "{message}");
    }
}

#[test]
fn csv_has_a_header_and_records_of_several_lines() {
    let csv = "id,text,\"name\"\r\n1,\"hay, \"\"dry\"\"\nand more\",a\r\n2,barn,b\r\n3,,c\r\n";
    let (documents, read) = Data::new().set("subset_field = \"name\"").file("a.csv", csv).read().unwrap();
    let texts: Vec<_> = documents.iter().map(|document| (document.index, document.text.as_str())).collect();
    assert_eq!(texts, [(0, "hay, \"dry\"\nand more"), (1, "barn")]);
    assert_eq!((documents[1].subset.as_deref(), read.empty_documents), (Some("b"), 1));
    let data = Data::new().file("a.csv", "id,text\n1,hay\n2\n");
    let message = assert_line(&data.error(), &data.path("a.csv"), 3);
    assert!(message.contains("expected 2 fields"), "{message}");
    let message = Data::new().file("a.csv", "id,txt\n1,hay\n").error().to_string();
    assert!(message.contains("[id, txt]"), "{message}");
}

#[test]
fn bad_rows_are_an_error_or_are_skipped_and_counted() {
    let lines =
        b"{\"text\": \"hay\"}\nnot JSON\n{\"text\": \"\xff\"}\n{\"other\": 1}\n{\"text\": 5}\n{\"text\": \"barn\"}\n";
    let data = Data::new().file("a.jsonl", lines);
    assert_line(&data.error(), &data.path("a.jsonl"), 2);
    let (documents, read) = Data::new().set("bad_rows = \"skip\"").file("a.jsonl", lines).read().unwrap();
    let texts: Vec<_> = documents.iter().map(|document| document.text.as_str()).collect();
    assert_eq!((texts, read.bad_rows), (vec!["hay", "barn"], 4));
    // What ends a file is an error all the same.
    let data = Data::new().set("bad_rows = \"skip\"").file("a.json", "[{\"text\": \"hay\"}, oops");
    assert!(data.error().to_string().contains("expected an object"));
    let data = Data::new().set("bad_rows = \"skip\"").file("a.jsonl", b"\xff\xfe{");
    assert!(data.error().to_string().contains("UTF-16"));
}

#[test]
fn a_long_line_is_skipped_to_its_end() {
    let long = format!("{{\"text\": \"{}\"}}", "a".repeat(64 << 20));
    let lines = [long.as_str(), "{\"text\": \"hay\"}", ""].join("\n");
    let (documents, read) = Data::new().set("bad_rows = \"skip\"").file("a.jsonl", lines).read().unwrap();
    assert_eq!((documents.len(), read.bad_rows), (1, 1));
}

#[test]
fn token_ids_are_read_without_their_padding() {
    let lines = "{\"input_ids\": [5, 6, 0, 0], \"attention_mask\": [1, 1, 0, 0], \"labels\": [NaN]}\n\
                 {\"input_ids\": []}\n{\"input_ids\": [7, 8]}\n";
    let (documents, read) = Data::new().set("tokens_field = \"input_ids\"").file("a.jsonl", lines).read().unwrap();
    let tokens: Vec<_> = documents.into_iter().map(|document| document.tokens.unwrap()).collect();
    assert_eq!((tokens, read.empty_documents), (vec![vec![5, 6], vec![7, 8]], 1));
    let data = Data::new().set("tokens_field = \"input_ids\"").file("a.jsonl", "{\"input_ids\": [1, -1]}");
    assert_line(&data.error(), &data.path("a.jsonl"), 1);
}
