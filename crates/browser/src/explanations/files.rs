//! Explanations as JSON lines, as an array of JSON, and as CSV. The first character tells them apart.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord};
use hayloft_runtime::without_mark;

use super::rows::{Object, Row};
use super::{bytes_of, wrong};
use crate::error::BrowserError;

type Add<'own> = dyn FnMut(&str, Row) -> Result<(), BrowserError> + 'own;

const KEYS: &str = "an object with `latent` and `explanation`, and if need be `sae`, `author` and `score`; or with `index` and \
                    `description`, as Neuronpedia exports it";

const COLUMNS: [&str; 5] = ["latent", "explanation", "sae", "author", "score"];

pub(super) fn read(path: &Path, add: &mut Add<'_>) -> Result<(), BrowserError> {
    let bytes = bytes_of(path)?;
    let bytes = without_mark(&bytes);
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        let byte = bytes[error.valid_up_to()];
        wrong(path, &line_of(line), "UTF-8", format!("the byte 0x{byte:02x}"))
    })?;
    match text.trim_start().chars().next() {
        None => Err(wrong(path, "line 1", "explanations", "an empty file".to_owned())),
        Some('[') => array(path, text, add),
        Some('{') => lines(path, text, add),
        Some(_) => table(path, text, add),
    }
}

fn line_of(line: usize) -> String {
    format!("line {line}")
}

fn lines(path: &Path, text: &str, add: &mut Add<'_>) -> Result<(), BrowserError> {
    let mut layer = None;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let place = line_of(number);
        let object = serde_json::from_str(line).map_err(|error| wrong(path, &place, KEYS, error.to_string()))?;
        add_object(path, &place, object, &mut layer, add)?;
    }
    Ok(())
}

fn array(path: &Path, text: &str, add: &mut Add<'_>) -> Result<(), BrowserError> {
    let objects: Vec<Object> = serde_json::from_str(text).map_err(|error| {
        wrong(path, &line_of(error.line()), &format!("an array, each entry {KEYS}"), error.to_string())
    })?;
    let mut layer = None;
    (1..).zip(objects).try_for_each(|(number, object): (usize, Object)| {
        add_object(path, &format!("entry {number}"), object, &mut layer, add)
    })
}

/// Adds an object, unless it is of another SAE of Neuronpedia's than those before it.
fn add_object(
    path: &Path,
    place: &str,
    object: Object,
    layer: &mut Option<String>,
    add: &mut Add<'_>,
) -> Result<(), BrowserError> {
    if let (Some(first), Some(own)) = (&*layer, &object.layer)
        && first != own
    {
        return Err(wrong(path, place, &format!("explanations of one SAE, here of layer {first}"), own.clone()));
    }
    *layer = object.layer.clone().or(layer.take());
    let row = object.row().map_err(|got| wrong(path, place, "the number of a latent", got))?;
    add(place, row)
}

fn table(path: &Path, text: &str, add: &mut Add<'_>) -> Result<(), BrowserError> {
    let expected = format!("CSV with columns {}, or JSON", COLUMNS.join(", "));
    let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
    let malformed = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        wrong(path, &format!("line {line}"), &expected, error.to_string())
    };
    let headings = reader.headers().map_err(malformed)?.clone();
    if let Some(other) = headings.iter().find(|heading| !COLUMNS.contains(heading)) {
        return Err(wrong(path, "line 1", &expected, format!("the column {other}")));
    }
    let place_of = |column: &str| headings.iter().position(|heading| heading == column);
    let places = COLUMNS.map(place_of);
    for needed in 0..2 {
        if places[needed].is_none() {
            let got = format!("columns {}", headings.iter().collect::<Vec<_>>().join(", "));
            return Err(wrong(path, "line 1", &format!("a column `{}`", COLUMNS[needed]), got));
        }
    }
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = format!("line {line}");
        let [latent, explanation, sae, author, score] = places.map(|column| cell(&record, column));
        let latent = latent.unwrap_or_default();
        let number = latent.parse().map_err(|_| wrong(path, &place, "the number of a latent", latent.to_owned()))?;
        let score = score.map(|score| score.parse().map_err(|_| wrong(path, &place, "a `score`", score.to_owned())));
        let row = Row {
            sae: sae.map(str::to_owned),
            latent: number,
            text: explanation.unwrap_or_default().to_owned(),
            author: author.map(str::to_owned),
            score: score.transpose()?,
        };
        add(&place, row)?;
    }
    Ok(())
}

/// A cell that is not empty.
fn cell(record: &StringRecord, column: Option<usize>) -> Option<&str> {
    record.get(column?).filter(|cell| !cell.is_empty())
}
