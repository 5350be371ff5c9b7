//! A table of formatted cells, and how it is made of results.

use hayloft_results::{Better, SubsetFigures};
use hayloft_runtime::UNDEFINED;
use serde_json::Number;

use crate::experiment::entry::Entry;

/// A table of formatted cells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// Unique, and suitable as a file name.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) note: String,
    /// Headings of the name columns; `figures` has those of the metrics.
    pub(crate) names: Vec<&'static str>,
    pub(crate) figures: Vec<Heading>,
    pub(crate) rows: Vec<TableRow>,
    /// Whether LaTeX sets the best figures in bold; a page always does.
    pub(crate) is_bold_in_latex: bool,
    /// Whether it has the study's metrics. A page shows the others behind its pictures.
    pub(crate) is_main: bool,
    /// Whether a terminal shows it; the report's files always do.
    pub(crate) is_printed: bool,
    /// The lines of the CSV file, the first with the names of the columns.
    pub(crate) records: Vec<Vec<String>>,
}

/// The heading of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heading {
    pub(crate) title: &'static str,
    /// For a terminal, of one or two lines.
    pub(crate) short: &'static str,
}

/// A row, with as many names and metrics as its table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableRow {
    pub(crate) names: Vec<String>,
    pub(crate) figures: Vec<Cell>,
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// What rows are sorted by.
    pub(crate) value: Option<f64>,
    /// The best of the rows on the same activations, or a difference that is certain.
    pub(crate) is_bold: bool,
    /// The fields of the CSV file.
    pub(crate) exact: Vec<String>,
}

/// What a row is about: a result, or its figures on a subset of the corpus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'report> {
    pub(super) entry: &'report Entry,
    pub(super) subset: Option<&'report SubsetFigures>,
}

/// A column that is made of lines.
pub(super) struct Figure<'report> {
    pub(super) heading: Heading,
    /// The names of its fields in CSV.
    pub(super) fields: Vec<String>,
    pub(super) better: Better,
    pub(super) cell: Box<dyn Fn(&Line<'_>) -> Cell + 'report>,
}

impl Table {
    /// All headings: of the names, then of the metrics.
    pub(crate) fn headings(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.names.iter().copied().chain(self.figures.iter().map(|heading| heading.title))
    }

    /// Removes the columns that are undefined in every row.
    pub(super) fn without_empty_columns(mut self) -> Self {
        let is_shown: Vec<bool> = (0..self.figures.len())
            .map(|place| self.rows.iter().any(|row| row.figures[place].text != UNDEFINED))
            .collect();
        keep(&mut self.figures, &is_shown);
        for row in &mut self.rows {
            keep(&mut row.figures, &is_shown);
        }
        self
    }
}

/// Keeps the items at the places that are kept.
pub(crate) fn keep<T>(items: &mut Vec<T>, is_kept: &[bool]) {
    let mut places = is_kept.iter();
    items.retain(|_| places.next().is_none_or(|kept| *kept));
}

impl TableRow {
    /// The text of all cells: names, then metrics.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(self.figures.iter().map(|cell| &cell.text))
    }
}

impl Cell {
    /// A number, whose CSV field has all its digits.
    pub(super) fn number(text: String, value: Option<f64>) -> Self {
        Self { text, value, is_bold: false, exact: vec![exact(value)] }
    }

    pub(super) fn undefined(fields: usize) -> Self {
        Self { text: UNDEFINED.to_owned(), value: None, is_bold: false, exact: vec![String::new(); fields] }
    }
}

/// A number with all its digits, as JSON has it; empty if undefined.
pub(super) fn exact(value: Option<f64>) -> String {
    value.and_then(Number::from_f64).map_or_else(String::new, |number| number.to_string())
}

/// Makes the rows of lines. In each column the best of the lines on the same activations is bold, if there are others.
pub(super) fn rows(
    lines: &[Line<'_>],
    names: impl Fn(&Line<'_>) -> Vec<String>,
    figures: &[Figure<'_>],
) -> Vec<TableRow> {
    let mut rows: Vec<TableRow> = lines
        .iter()
        .map(|line| TableRow { names: names(line), figures: figures.iter().map(|own| (own.cell)(line)).collect() })
        .collect();
    let is_rival = |one: &Line<'_>, other: &Line<'_>| {
        let subset = |line: &Line<'_>| line.subset.map(|own| own.subset.clone());
        one.entry.is_about_same(other.entry) && subset(one) == subset(other)
    };
    for (column, figure) in figures.iter().enumerate().filter(|(_, figure)| figure.better != Better::Neither) {
        let sign = if figure.better == Better::High { 1.0 } else { -1.0 };
        let texts: Vec<(Option<f64>, String)> =
            rows.iter().map(|row| (row.figures[column].value, row.figures[column].text.clone())).collect();
        for place in 0..rows.len() {
            let rivals = (0..rows.len()).filter(|other| is_rival(&lines[place], &lines[*other]));
            let defined: Vec<(f64, &String)> =
                rivals.filter_map(|other| Some((sign * texts[other].0?, &texts[other].1))).collect();
            let best = defined.iter().max_by(|one, other| one.0.total_cmp(&other.0));
            // Figures that look the same are equally good; where all do, none is the best.
            let is_best = best.is_some_and(|(_, text)| **text == texts[place].1);
            rows[place].figures[column].is_bold = is_best && defined.iter().any(|(_, text)| **text != texts[place].1);
        }
    }
    rows
}

/// Lower-cases ASCII letters, keeps digits, and replaces every other character by a hyphen.
pub(crate) fn slug(text: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    text.chars().map(plain).collect()
}

/// Numbers repeated ids: names of two datasets may have the same slug.
pub(super) fn number_repeats(tables: &mut [Table]) {
    for place in 1..tables.len() {
        let (before, rest) = tables.split_at_mut(place);
        let id = rest[0].id.clone();
        let repeats = before.iter().filter(|table| table.id == id || table.id.starts_with(&format!("{id}--"))).count();
        if repeats > 0 {
            rest[0].id = format!("{id}--{}", repeats + 1);
        }
    }
}
