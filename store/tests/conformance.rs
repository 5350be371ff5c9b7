//! The cases of `conformance/`: the reader and the writer agree with `expected.json`, and no damage is overlooked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the program's `main`")]
#[path = "../examples/conformance_reader.rs"]
mod reader;
#[allow(dead_code, reason = "the program's `main`")]
#[path = "../examples/conformance_writer.rs"]
mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_store::verify;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The folders of the cases.
fn cases() -> Vec<PathBuf> {
    let cases: Vec<PathBuf> =
        fs::read_dir(folder().join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!cases.is_empty());
    cases
}

fn is_valid(cache: &Path) -> bool {
    verify(cache, &mut |_| ()).is_ok_and(|report| report.damages.is_empty())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, copied) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(path, copied).unwrap();
        }
    }
}

#[test]
fn the_reader_reads_every_case() {
    for case in cases() {
        let cache = case.join("cache");
        assert_eq!(reader::contents(&cache).unwrap(), json(&case.join("expected.json")), "{}", case.display());
        assert!(is_valid(&cache), "{}", case.display());
    }
}

#[test]
fn the_writer_writes_every_case() {
    for case in cases() {
        let cache = tempfile::tempdir().unwrap();
        writer::write(&case, cache.path()).unwrap();
        assert_eq!(reader::contents(cache.path()).unwrap(), json(&case.join("expected.json")), "{}", case.display());
        assert!(is_valid(cache.path()), "{}", case.display());
    }
}

#[test]
fn verify_finds_every_damage_and_the_reader_hands_out_none() {
    for damage in json(&folder().join("damage.json")).as_array().unwrap() {
        let case = folder().join("cases").join(damage["case"].as_str().unwrap());
        let scratch = tempfile::tempdir().unwrap();
        let cache = scratch.path().join("cache");
        copy(&case.join("cache"), &cache);
        for edit in damage["edits"].as_array().unwrap() {
            apply(edit, &cache);
        }
        let name = &damage["name"];
        assert!(!is_valid(&cache), "{name}");
        match reader::contents(&cache) {
            Ok(contents) => {
                assert_eq!(damage["must"], "verify", "{name} is read");
                assert_eq!(contents, json(&case.join("expected.json")), "{name}");
            }
            Err(error) => assert!(!error.to_string().is_empty(), "{name}"),
        }
    }
}

/// Makes an edit of `damage.json`.
fn apply(edit: &Value, cache: &Path) {
    let path = cache.join(edit["file"].as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    if let Some(length) = edit["length"].as_u64() {
        bytes.truncate(length as usize);
    } else {
        let (offset, was) = (edit["offset"].as_u64().unwrap() as usize, from_hex(&edit["was"]));
        let place = &mut bytes[offset..offset + was.len()];
        assert_eq!(place, was, "{}: damage.json is of other caches", path.display());
        place.copy_from_slice(&from_hex(&edit["bytes"]));
    }
    fs::write(path, bytes).unwrap();
}

fn from_hex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
