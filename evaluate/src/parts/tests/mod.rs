//! Tests of parts of synthetic measurements. Results are byte-identical for any split and order, and parts that do not
//! match or are damaged are rejected.

mod files;
mod made_up;
mod refusals;
mod splits;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use hayloft_results::Breakdown;
use hayloft_runtime::Part;

use self::made_up::cut;
use super::assemble;
use super::combine::{ReadPart, combine};
use super::file::{from_bytes, to_bytes};
use super::measurement::Measurement;

fn part(text: &str) -> Part {
    text.parse().unwrap()
}

/// Reads a part back from the bytes of its file.
fn read_part(whole: &Measurement, text: &str, saes: Range<usize>) -> ReadPart {
    let part = part(text);
    let path = PathBuf::from(format!("group-{}/part-{}-of-{}.safetensors", saes.start, part.index(), part.of()));
    let bytes = to_bytes(&cut(whole, part, saes), part).unwrap();
    let (read, measurement) = from_bytes(&path, &bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read, part);
    ReadPart { path, part, measurement }
}

fn parts(whole: &Measurement, of: usize, saes: Range<usize>) -> Vec<ReadPart> {
    (0..of).map(|index| read_part(whole, &format!("{index}/{of}"), saes.clone())).collect()
}

/// Everything written and printed for a measurement, by name.
fn shown(measurement: Measurement) -> BTreeMap<String, Vec<u8>> {
    let results = assemble(measurement);
    let folder = tempfile::tempdir().unwrap();
    results.write(folder.path()).unwrap();
    let mut shown: BTreeMap<String, Vec<u8>> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    let printed = [
        results.json().unwrap(),
        results.table(80),
        results.details(80),
        results.breakdown(Breakdown::Subset, 80),
        results.breakdown(Breakdown::Position, 80),
        format!("{:?}", results.clean_check),
    ];
    shown.insert("printed".to_owned(), printed.join("\n").into_bytes());
    shown
}

fn assert_same(measurement: &Measurement, parts: &[ReadPart]) {
    let (expected, got) =
        (shown(measurement.clone()), shown(combine(parts.to_vec()).unwrap_or_else(|error| panic!("{error}"))));
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (name, expected) in expected {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(expected == got[&name], "{name}\n{}\n{}", text(&expected), text(&got[&name]));
    }
}
