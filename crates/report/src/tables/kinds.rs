//! The tables of a report: for each dataset, section and treatment of outliers, one of each kind that the results have.

use hayloft_results::{COLUMNS, Column, ColumnTable, ColumnValue};

use super::figures;
use super::table::{Figure, Line, Table, exact, number_repeats, rows, slug};
use super::words::{outliers_in_words, place_in_words};
use crate::experiment::entry::Entry;
use crate::experiment::open::Report;
use crate::experiment::study::FINETUNED;

/// A kind of table: part of its id, its title, its columns, the results that it is about, and its note.
struct Kind {
    id: &'static str,
    title: &'static str,
    figures: fn() -> Vec<Figure<'static>>,
    has: fn(&Entry) -> bool,
    note: fn(&[&Entry]) -> String,
}

/// The tables beside the main ones.
const OTHERS: [Kind; 5] = [
    Kind {
        id: "intervals",
        title: "95 % intervals",
        figures: figures::intervals,
        has: |entry| entry.result.intervals.is_some(),
        note: |entries| {
            let intervals = || entries.iter().filter_map(|entry| entry.result.intervals.as_ref());
            format!(
                "Bootstrap intervals (BCa) from resamples of whole sequences: {} sequences, {} resamples.",
                range(intervals().map(|own| own.sequences as u64)),
                range(intervals().map(|own| own.resamples as u64)),
            )
        },
    },
    Kind {
        id: "differences",
        title: "paired differences",
        figures: figures::differences,
        has: |entry| difference(entry).is_some(),
        note: |_| {
            "The SAE's figure less the other's on the same resamples, and the 95 % interval of that. Bold: the interval does not hold zero.".to_owned()
        },
    },
    Kind {
        id: "divergences",
        title: "divergences",
        figures: figures::divergences,
        has: |entry| entry.result.kl.is_some(),
        note: |entries| {
            let tokens = entries.iter().map(|entry| entry.result.columns.loss_tokens);
            format!("KL(clean || spliced) of the next-token predictions, nats a token, over {} tokens.", range(tokens))
        },
    },
    Kind {
        id: "latents",
        title: "reconstructions and latents",
        figures: figures::details,
        has: |_| true,
        note: |entries| {
            let rows = entries.iter().map(|entry| entry.result.columns.activation_rows);
            format!(
                "Over {} activations. A dead latent is above zero in none of them, a dense one in more than a tenth; how many are dead depends on how many activations there are.",
                range(rows)
            )
        },
    },
    Kind {
        id: "precision",
        title: "effects of precision and codec",
        figures: figures::precision,
        has: |entry| entry.result.compute_effect.is_some() || entry.result.stored_rounding.is_some(),
        note: |_| {
            "Each figure computed in the lower precision less the same in f32, on a sample; and what the cache's codec rounds away: the norm of the error over that of the activations, and the clean loss from the stored activations less the cache's.".to_owned()
        },
    },
];

/// The SAE that differences are from.
fn difference(entry: &Entry) -> Option<&str> {
    Some(entry.result.intervals.as_ref()?.difference.as_ref()?.from.as_str())
}

/// A name of a row: its heading, and how it is read.
type RowName = (&'static str, fn(&Entry) -> String);

/// The names that rows begin with.
struct Names(Vec<RowName>);

impl Report {
    /// Builds all tables. In the study there is a transfer table, and a fine-tuning table if there is a fine-tuned SAE.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let names = Names::of(self);
        let (mut main, mut others) = (Vec::new(), Vec::new());
        for group in self.entries.chunk_by(Entry::is_beside) {
            if self.experiment.is_study() {
                main.extend(self.study_tables(group, &names));
            } else {
                main.push(self.main_table("figures", &group.iter().collect::<Vec<_>>(), &names));
            }
            for kind in &OTHERS {
                let entries: Vec<&Entry> = group.iter().filter(|entry| (kind.has)(entry)).collect();
                if !entries.is_empty() {
                    others.push(other_table(kind, &entries, &names));
                }
            }
            others.extend(subset_table(group, &names));
        }
        main.extend(others);
        number_repeats(&mut main);
        main.into_iter().map(Table::without_empty_columns).collect()
    }

    fn study_tables(&self, group: &[Entry], names: &Names) -> Vec<Table> {
        let is_tuned =
            |entry: &Entry| group.iter().any(|other| other.sae.key == FINETUNED && other.is_about_same(entry));
        let transfer: Vec<&Entry> = group.iter().filter(|entry| entry.sae.key != FINETUNED).collect();
        let mut tables = Vec::new();
        // The fine-tuning table includes the rows that a fine-tuned SAE is compared with. A transfer table is needed
        // only for others.
        if transfer.iter().any(|entry| !is_tuned(entry)) {
            tables.push(self.main_table("transfer", &transfer, names));
        }
        let tuned: Vec<&Entry> = group.iter().filter(|entry| is_tuned(entry)).collect();
        if !tuned.is_empty() {
            tables.push(self.main_table("finetuned", &tuned, names));
        }
        tables
    }

    /// The table of the study's metrics.
    fn main_table(&self, kind: &str, entries: &[&Entry], names: &Names) -> Table {
        let tuned = kind == "finetuned";
        let mut figures: Vec<Figure<'_>> = figures::main();
        if tuned {
            figures.push(figures::gap(|line| self.gap_recovered(line.entry)));
        }
        let what = match kind {
            "transfer" => ": transfer",
            "finetuned" => ": fine-tuning",
            _ => "",
        };
        let first = entries[0];
        Table {
            id: id(first, kind),
            title: format!("{}{what}, {}", place_in_words(first), outliers_in_words(first)),
            note: note(entries, tuned),
            is_main: true,
            is_bold_in_latex: !self.experiment.is_study(),
            records: self.main_records(entries),
            ..table(&lines(entries), &figures, names)
        }
    }

    /// Each row's keys and its metrics as fractions, at full precision. Undefined metrics are empty.
    fn main_records(&self, entries: &[&Entry]) -> Vec<Vec<String>> {
        let is_study = self.experiment.is_study();
        let is_written = |column: &&Column| matches!(column.table, ColumnTable::Main | ColumnTable::Supporting);
        let columns: Vec<&Column> = COLUMNS.iter().filter(is_written).collect();
        let mut header = keys_header(is_study);
        header.extend(columns.iter().map(|column| column.name.to_owned()));
        header.extend(is_study.then(|| "explained_variance_gap_recovered".to_owned()));
        header.extend(["outlier_norm", "outlier_norm_raw", "outlier_rule"].map(str::to_owned));
        let record = |entry: &&Entry| {
            let result = &entry.result;
            let mut record = keys(entry, is_study);
            record.extend(columns.iter().map(|column| match column.exact(&result.columns, None) {
                ColumnValue::Count(count) => count.to_string(),
                ColumnValue::Metric(value) => exact(value),
            }));
            record.extend(is_study.then(|| exact(self.gap_recovered(entry))));
            record.extend([exact(result.outlier_norm), exact(result.outlier_norm_raw)]);
            record.push(result.outlier_rule.map_or_else(String::new, |rule| rule.to_string()));
            record
        };
        [header].into_iter().chain(entries.iter().map(record)).collect()
    }
}

impl Names {
    /// The SAE, and what results of the report differ in.
    fn of(report: &Report) -> Self {
        let entries = &report.entries;
        let several = |is_same: fn(&Entry, &Entry) -> bool| entries.iter().any(|entry| !is_same(&entries[0], entry));
        let is_study = report.experiment.is_study();
        let mut names: Vec<RowName> = Vec::new();
        if several(|one, other| one.family == other.family) {
            names.push(("Family", |entry| entry.family.as_ref().map_or_else(String::new, |own| own.label.clone())));
        }
        names.push(("SAE", |entry| entry.sae.label.clone()));
        if !is_study && several(|one, other| one.series == other.series) {
            names.push(("Series", |entry| entry.series.label.clone()));
        }
        if is_study || several(|one, other| one.model == other.model) {
            names.push(("Model", |entry| entry.model.label.clone()));
        }
        if !is_study && several(|one, other| one.site == other.site) {
            names.push(("Site", |entry| entry.site.label.clone()));
        }
        Self(names)
    }

    fn headings(&self) -> Vec<&'static str> {
        self.0.iter().map(|(heading, _)| *heading).collect()
    }

    fn of_entry(&self, entry: &Entry) -> Vec<String> {
        self.0.iter().map(|(_, read)| read(entry)).collect()
    }
}

fn lines<'report>(entries: &[&'report Entry]) -> Vec<Line<'report>> {
    entries.iter().map(|entry| Line { entry, subset: None }).collect()
}

/// A table without title, note and records.
fn table(lines: &[Line<'_>], figures: &[Figure<'_>], names: &Names) -> Table {
    Table {
        id: String::new(),
        title: String::new(),
        note: String::new(),
        names: names.headings(),
        figures: figures.iter().map(|figure| figure.heading).collect(),
        rows: rows(lines, |line| names.of_entry(line.entry), figures),
        is_bold_in_latex: true,
        is_main: false,
        is_printed: true,
        records: Vec::new(),
    }
}

fn other_table(kind: &Kind, entries: &[&Entry], names: &Names) -> Table {
    let first = entries[0];
    let (lines, figures) = (lines(entries), (kind.figures)());
    let mut table = Table {
        id: id(first, kind.id),
        title: format!("{}: {}, {}", place_in_words(first), kind.title, outliers_in_words(first)),
        note: (kind.note)(entries),
        ..table(&lines, &figures, names)
    };
    if kind.id == "differences" {
        table.names.push("Less");
        for (row, entry) in table.rows.iter_mut().zip(entries) {
            row.names.push(difference(entry).unwrap_or_default().to_owned());
        }
    }
    table.records = other_records(&table, &lines, &figures);
    table
}

/// A line for each subset of each SAE.
fn subset_table(group: &[Entry], names: &Names) -> Option<Table> {
    let lines: Vec<Line<'_>> = group
        .iter()
        .flat_map(|entry| entry.result.subsets.iter().map(move |subset| Line { entry, subset: Some(subset) }))
        .collect();
    let first = lines.first()?.entry;
    let figures = figures::main();
    let mut table = Table {
        id: id(first, "subsets"),
        title: format!("{}: subsets of the corpus, {}", place_in_words(first), outliers_in_words(first)),
        note: "Of the tokens of each subset; the mean activation is that of the whole section.".to_owned(),
        is_printed: false,
        ..table(&lines, &figures, names)
    };
    table.names.push("Subset");
    for (row, line) in table.rows.iter_mut().zip(&lines) {
        let subset = line.subset.and_then(|own| own.subset.clone());
        row.names.push(subset.unwrap_or_else(|| "(none)".to_owned()));
    }
    table.records = other_records(&table, &lines, &figures);
    Some(table)
}

/// Each row's keys, its last names, and its figures.
fn other_records(table: &Table, lines: &[Line<'_>], figures: &[Figure<'_>]) -> Vec<Vec<String>> {
    let is_study = lines.iter().any(|line| line.entry.family.is_some());
    let own = table.names.iter().filter(|name| ["Less", "Subset"].contains(*name)).count();
    let mut header = keys_header(is_study);
    header.extend(table.names[table.names.len() - own..].iter().map(|name| name.to_lowercase()));
    header.extend(figures.iter().flat_map(|figure| figure.fields.clone()));
    let record = |(row, line): (&super::table::TableRow, &Line<'_>)| {
        let mut record = keys(line.entry, is_study);
        record.extend(row.names[row.names.len() - own..].iter().cloned());
        record.extend(row.figures.iter().flat_map(|cell| cell.exact.clone()));
        record
    };
    [header].into_iter().chain(table.rows.iter().zip(lines).map(record)).collect()
}

fn keys_header(is_study: bool) -> Vec<String> {
    let keys: &[&str] = if is_study {
        &["family", "sae", "model", "dataset", "section", "outliers_filtered"]
    } else {
        &["sae", "series", "model", "site", "dataset", "section", "outliers_filtered"]
    };
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn keys(entry: &Entry, is_study: bool) -> Vec<String> {
    let Entry { dataset, family, model, site, sae, series, result, .. } = entry;
    let mut keys = Vec::new();
    if is_study {
        keys.push(family.as_ref().map_or_else(String::new, |family| family.key.clone()));
    }
    keys.push(sae.key.clone());
    if !is_study {
        keys.push(series.key.clone());
    }
    keys.push(model.key.clone());
    if !is_study {
        keys.push(site.key.clone());
    }
    keys.extend([dataset.key.clone(), result.section.to_string(), entry.is_filtered().to_string()]);
    keys
}

fn id(first: &Entry, kind: &str) -> String {
    let outliers = if first.is_filtered() { "filtered" } else { "kept" };
    slug(&format!("{}-{}-{outliers}-{kind}", first.dataset.key, first.result.section))
}

/// The note below a table: counts and definitions.
fn note(entries: &[&Entry], tuned: bool) -> String {
    let columns = || entries.iter().map(|entry| &entry.result.columns);
    let mut note = format!(
        "{} losses and {} activations behind each row; {} outliers left out of L0, EV and MSE. EV is the mean over activations of 1 - FVU (SAELens's explained_variance_legacy), EV pooled is 1 - FVU over all of them at once (SAELens's explained_variance).",
        range(columns().map(|own| own.loss_tokens)),
        range(columns().map(|own| own.activation_rows)),
        range(columns().map(|own| own.outlier_rows)),
    );
    if tuned {
        note.push_str(" EV gap recovered: how far the fine-tuned SAE comes from the base SAE's explained variance to the chat SAE's.");
    }
    note
}

/// The least and the most of counts.
fn range(counts: impl Iterator<Item = u64>) -> String {
    let (least, most) = counts.fold((u64::MAX, 0), |(least, most), count| (least.min(count), most.max(count)));
    if least >= most { most.to_string() } else { format!("{least} to {most}") }
}
