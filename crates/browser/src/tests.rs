//! Pages of small files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use tempfile::tempdir;

use crate::{BrowserError, Comparison, Explanations, Match, Page, Sources};

const NASTY: &str = "</script><script>alert(1)</script>\u{2028}";

fn write(path: &Path, columns: Vec<(&'static str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Writes `latents.parquet` of SAEs with so many latents, which fire once each.
pub(crate) fn latents_file(folder: &Path, saes: &[(&str, u32)]) {
    let rows = || saes.iter().flat_map(|(name, width)| (0..*width).map(move |latent| (*name, latent)));
    let counts = |count: u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(rows().map(|_| count))) };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("sae", Arc::new(StringArray::from_iter_values(rows().map(|(name, _)| name)))),
        ("latent", Arc::new(UInt32Array::from_iter_values(rows().map(|(_, latent)| latent)))),
        ("tokens", counts(100)),
        ("firings", counts(1)),
    ];
    write(&folder.join("latents.parquet"), columns);
}

/// Writes `examples.parquet`: one example, top, of each of these latents.
fn examples_file(folder: &Path, latents: &[(&str, u32)]) {
    let rows = latents.len();
    let numbers = |number: u32| -> ArrayRef { Arc::new(UInt32Array::from(vec![number; rows])) };
    let tokens = ListArray::from_iter_primitive::<UInt32Type, _, _>(vec![Some([5, 6].map(Some)); rows]);
    let activations = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some([Some(0.0), Some(2.5)]); rows]);
    let mut texts = ListBuilder::new(StringBuilder::new());
    (0..rows).for_each(|_| texts.append_value([Some("Ġthe"), Some(NASTY)]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("sae", Arc::new(StringArray::from_iter_values(latents.iter().map(|(name, _)| name)))),
        ("latent", Arc::new(UInt32Array::from_iter_values(latents.iter().map(|(_, latent)| *latent)))),
        ("kind", Arc::new(StringArray::from(vec!["top"; rows]))),
        ("rank", numbers(0)),
        ("activation", Arc::new(Float32Array::from(vec![2.5; rows]))),
        ("sequence", Arc::new(UInt64Array::from(vec![7; rows]))),
        ("position", numbers(3)),
        ("first_position", numbers(2)),
        ("subset", Arc::new(StringArray::from(vec![NASTY; rows]))),
        ("tokens", Arc::new(tokens)),
        ("activations", Arc::new(activations)),
        ("texts", Arc::new(texts.finish())),
    ];
    write(&folder.join("examples.parquet"), columns);
}

pub(crate) fn sources(folders: &[&Path]) -> Sources {
    Sources::open(&folders.iter().map(|folder| folder.to_path_buf()).collect::<Vec<PathBuf>>()).unwrap()
}

fn page(sources: &Sources, out: &Path) -> Result<u64, BrowserError> {
    let (explanations, mut bytes) = (Explanations::new(sources), 0);
    let page = Page { sources, explanations: &explanations, comparisons: &[] };
    page.write(out, &mut |more| bytes += more).map(|_| bytes)
}

/// What a script registers.
fn data(out: &Path, name: &str) -> Value {
    let text = fs::read_to_string(out.join(format!("data/{name}.js"))).unwrap();
    let json = text.trim_end().strip_prefix(&format!("hayloft.add(\"{name}\",")).unwrap().strip_suffix(");").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_page_has_what_the_files_have_and_no_markup_of_theirs() {
    let folder = tempdir().unwrap();
    latents_file(folder.path(), &[(NASTY, 2), ("chat", 1)]);
    examples_file(folder.path(), &[(NASTY, 1), ("chat", 0)]);
    let sources = sources(&[folder.path()]);
    let out = folder.path().join("page");
    assert_eq!(page(&sources, &out).unwrap(), sources.bytes());
    let contents = data(&out, "page");
    assert_eq!(contents["saes"][0]["name"], NASTY);
    assert_eq!((&contents["saes"][0]["tokens"], &contents["saes"][0]["examples"]), (&100.into(), &1.into()));
    let latents = data(&out, "0/latents-0");
    let example = &latents["items"][1]["examples"][0];
    assert_eq!((&example["tokens"], &example["fires"]), (&serde_json::json!([0, 1]), &serde_json::json!([[1, 2.5]])));
    assert_eq!((&example["subset"], &latents["shared"]["ids"]), (&NASTY.into(), &serde_json::json!([5, 6])));
    assert_eq!(latents["shared"]["texts"], serde_json::json!([" the", NASTY.replace('\u{2028}', "\\u2028")]));
    assert_eq!(data(&out, "1/terms")["terms"][0], NASTY.replace('\u{2028}', "\\u2028"));
    for script in fs::read_dir(out.join("data/0")).unwrap() {
        let text = fs::read_to_string(script.unwrap().path()).unwrap();
        assert!(!text.contains(['<', '\u{2028}']) && text.lines().count() == 1, "{text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    page(&sources, &out).unwrap();
}

#[test]
fn examples_of_another_run_are_refused() {
    let folder = tempdir().unwrap();
    latents_file(folder.path(), &[("base", 2)]);
    examples_file(folder.path(), &[("base", 1)]);
    let made_by = |name: &str, about: &str| {
        let path = folder.path().join(name);
        let rows = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap().build().unwrap();
        let rows: Vec<RecordBatch> = rows.map(Result::unwrap).collect();
        let about = vec![KeyValue::new("hayloft.latents".to_owned(), about.to_owned())];
        let properties = WriterProperties::builder().set_key_value_metadata(Some(about)).build();
        let file = fs::File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows[0].schema(), Some(properties)).unwrap();
        for rows in &rows {
            writer.write(rows).unwrap();
        }
        writer.close().unwrap();
    };
    made_by("latents.parquet", "{}");
    made_by("examples.parquet", "{}");
    page(&sources(&[folder.path()]), &folder.path().join("page")).unwrap();
    made_by("examples.parquet", "{\"seed\": 1}");
    let message = page(&sources(&[folder.path()]), &folder.path().join("page")).unwrap_err().to_string();
    assert!(message.contains("examples.parquet") && message.contains("another run"), "{message}");
}

#[test]
fn examples_of_no_latent_are_refused_and_nothing_is_written() {
    for (latents, words) in [
        (vec![("base", 2)], "got top example 0 of latent 2 of base"),
        (vec![("other", 0)], "got top example 0 of latent 0 of other"),
        (vec![("base", 1), ("base", 0)], "got top example 0 of latent 0 of base"),
        (vec![("base", 1), ("base", 1)], "got top example 0 of latent 1 of base"),
    ] {
        let folder = tempdir().unwrap();
        latents_file(folder.path(), &[("base", 2)]);
        examples_file(folder.path(), &latents);
        let message = page(&sources(&[folder.path()]), &folder.path().join("page")).unwrap_err().to_string();
        assert!(message.contains(words), "{words}: {message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn saes_of_one_name_are_told_apart_by_their_folders() {
    let folder = tempdir().unwrap();
    let paths = ["one/latents", "two/latents", "three"].map(|name| folder.path().join(name));
    for (path, saes) in paths.iter().zip([&[("base", 2), ("a=b", 2)][..], &[("base", 2)], &[("base", 3)]]) {
        fs::create_dir_all(path).unwrap();
        latents_file(path, saes);
    }
    let sources = Sources::open(&paths).unwrap();
    let names: Vec<&str> = sources.saes().iter().map(|sae| sae.name.as_str()).collect();
    let real = folder.path().canonicalize().unwrap();
    let long = |part: &str| format!("{}/{part}/latents/base", real.display());
    assert_eq!(names, [&long("one"), "a=b", &long("two"), "three/base"]);
    assert!(Sources::open(&[paths[0].clone(), paths[0].join("../latents")]).is_err());

    let compare = |asked: &str| Comparison::of::<BrowserError>(&sources, asked, |_, _| Ok(Match::Index));
    let own = compare(&format!("a=b={}", long("two"))).unwrap();
    assert_eq!((own.left, own.right), (1, 2));
    for (asked, words) in [
        (
            "a=b=three/base",
            "expected SAEs of the same width, whose latents match by number; --match cosine takes others, got 2 and 3 latents",
        ),
        ("a=b=a=b", "expected two SAEs, got one twice"),
        ("three/base=thre/base", "as A=B, got thre/base. Did you mean three/base?"),
        ("three/base", "got three/base"),
    ] {
        let message = compare(asked).unwrap_err().to_string();
        assert!(message.contains(words), "{asked}: {message}");
    }
}
