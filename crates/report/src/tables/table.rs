//! Rows as tables in the study's layout, with an additional column for pooled explained variance.

use hayloft_results::{Column, ColumnTable};

use crate::experiment::open::Report;
use crate::experiment::role::SaeRole;
use crate::tables::format::percent;
use crate::tables::summary::Row;

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
    pub(crate) figures: Vec<String>,
    /// The row that the cells come from.
    pub(crate) source: Row,
}

/// The only metric that is not a column of a result.
const GAP: Heading = Heading { title: "EV gap recovered %", short: "EV\ngap %" };

impl Table {
    /// All headings: of the names, then of the metrics.
    pub(crate) fn headings(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.names.iter().copied().chain(self.figures.iter().map(|heading| heading.title))
    }
}

impl TableRow {
    /// All cells: names, then metrics.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(&self.figures)
    }
}

impl Report {
    /// Builds all tables: for each dataset, section and treatment of outliers a transfer table, and a fine-tuning table
    /// if there is a fine-tuned SAE.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let rows = self.summary().rows;
        let several = self.families().len() > 1;
        let mut tables = Vec::new();
        for group in rows.chunk_by(Row::is_beside) {
            let is_tuned =
                |row: &Row| group.iter().any(|other| other.sae == SaeRole::Finetuned && other.is_about_same(row));
            let transfer: Vec<&Row> = group.iter().filter(|row| row.sae != SaeRole::Finetuned).collect();
            // The fine-tuning table includes the rows that a fine-tuned SAE is compared with. A transfer table is
            // needed only for others.
            if transfer.iter().any(|row| !is_tuned(row)) {
                tables.push(grouped("transfer", &transfer, several));
            }
            let tuned: Vec<&Row> = group.iter().filter(|row| is_tuned(row)).collect();
            if !tuned.is_empty() {
                tables.push(grouped("finetuned", &tuned, several));
            }
        }
        number_repeats(&mut tables);
        tables
    }
}

/// Builds the table of rows that are beside one another; `several` is whether there are several families.
pub(super) fn grouped(kind: &str, rows: &[&Row], several: bool) -> Table {
    let first = rows[0];
    let tuned = kind == "finetuned";
    let outliers = if first.outliers_filtered { "filtered" } else { "kept" };
    let what = if tuned { "fine-tuning" } else { "transfer" };
    let mut names = if several { vec!["Family"] } else { Vec::new() };
    names.extend(["SAE", "Model"]);
    let heading = |column: &Column| Heading { title: column.title, short: column.heading };
    let mut figures: Vec<Heading> = Column::of(ColumnTable::Main).map(heading).collect();
    if tuned {
        figures.push(GAP);
    }
    Table {
        id: slug(&format!("{}-{}-{outliers}-{kind}", first.dataset, first.section)),
        title: format!("{}: {what}, outliers {outliers}", place_in_words(first)),
        note: note(rows, tuned),
        names,
        figures,
        rows: rows.iter().map(|row| table_row(row, several, tuned)).collect(),
    }
}

fn table_row(row: &Row, several: bool, tuned: bool) -> TableRow {
    let mut names = if several { vec![row.family.clone()] } else { Vec::new() };
    names.extend([row.sae.label().to_owned(), row.model.label().to_owned()]);
    let mut figures: Vec<String> =
        Column::of(ColumnTable::Main).map(|column| column.text(&row.columns, None)).collect();
    if tuned {
        figures.push(percent(row.explained_variance_gap_recovered));
    }
    TableRow { names, figures, source: row.clone() }
}

/// The note below a table: counts and definitions.
fn note(rows: &[&Row], tuned: bool) -> String {
    let range = |count: fn(&Row) -> u64| {
        let counts = || rows.iter().map(|row| count(row));
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        if least == most { least.to_string() } else { format!("{least} to {most}") }
    };
    let mut note = format!(
        "{} losses and {} activations behind each row; {} outliers left out of L0, EV and MSE. EV is the mean over activations of 1 - FVU (SAELens's explained_variance_legacy), EV pooled is 1 - FVU over all of them at once (SAELens's explained_variance).",
        range(|row| row.columns.loss_tokens),
        range(|row| row.columns.activation_rows),
        range(|row| row.columns.outlier_rows),
    );
    if tuned {
        note.push_str(" EV gap recovered: how far the fine-tuned SAE comes from the base SAE's explained variance to the chat SAE's.");
    }
    note
}

/// Describes dataset and section.
pub(crate) fn place_in_words(row: &Row) -> String {
    format!("{}, {}", dataset_in_words(&row.dataset), section_in_words(&row.section.to_string()))
}

pub(crate) fn dataset_in_words(dataset: &str) -> String {
    match dataset {
        "pile" => "Pile protocol".to_owned(),
        "alpaca" => "Alpaca protocol".to_owned(),
        other => other.to_owned(),
    }
}

pub(crate) fn section_in_words(section: &str) -> String {
    match section {
        "all" => "every position".to_owned(),
        "user_prompt" => "user prompt".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Lower-cases ASCII letters, keeps digits, and replaces every other character by a hyphen.
pub(crate) fn slug(text: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    text.chars().map(plain).collect()
}

/// Numbers repeated ids: names of two datasets may have the same slug.
fn number_repeats(tables: &mut [Table]) {
    for place in 1..tables.len() {
        let (before, rest) = tables.split_at_mut(place);
        let id = rest[0].id.clone();
        let repeats = before.iter().filter(|table| table.id == id || table.id.starts_with(&format!("{id}--"))).count();
        if repeats > 0 {
            rest[0].id = format!("{id}--{}", repeats + 1);
        }
    }
}
