//! The report as one self-contained HTML page: no network, no scripts.

use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use super::error::ReportError;
use super::figures::Gallery;
use super::load::Report;
use super::numbers::COLUMNS;
use super::provenance::Fact;
use super::tables::Table;
use crate::plot::{variables_dark, variables_light};

/// The suffix `.html` makes minijinja escape every value that the template does not mark as safe.
const NAME: &str = "page.html";
const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// The template's input.
#[derive(Serialize)]
struct Page<'report> {
    title: &'report str,
    description: Option<&'report str>,
    /// Trusted, and inserted unescaped.
    style: String,
    left_out: Vec<String>,
    tables: Vec<PageTable>,
    galleries: Vec<Gallery>,
    definitions: Vec<Definition>,
    provenance: Vec<Fact>,
}

/// A table in the template's input.
#[derive(Serialize)]
struct PageTable {
    id: String,
    title: String,
    note: String,
    headings: Vec<&'static str>,
    rows: Vec<PageRow>,
}

/// A row: its names, as row headers, and its metrics.
#[derive(Serialize)]
struct PageRow {
    names: Vec<String>,
    figures: Vec<String>,
}

#[derive(Serialize)]
struct Definition {
    term: &'static str,
    meaning: &'static str,
}

impl Report {
    /// Renders the page. The template escapes all names, because they come from untrusted files.
    pub(super) fn html(&self) -> Result<String, ReportError> {
        let mut environment = Environment::new();
        environment.add_template(NAME, PAGE)?;
        let style = format!(
            ":root {{ color-scheme: light dark; {} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {} }} }}\n@media print {{ :root {{ color-scheme: light; {} }} }}\n{STYLE}",
            variables_light(),
            variables_dark(),
            variables_light(),
        );
        let definitions: Vec<Definition> =
            COLUMNS.iter().map(|column| Definition { term: column.heading, meaning: column.meaning }).collect();
        let page = Page {
            title: &self.experiment.title,
            description: self.experiment.description.as_deref(),
            style,
            left_out: self.left_out.iter().map(ToString::to_string).collect(),
            tables: self.tables().into_iter().map(PageTable::from).collect(),
            galleries: self.galleries(),
            definitions,
            provenance: self.provenance(),
        };
        Ok(environment.get_template(NAME)?.render(Serde(&page))?)
    }
}

impl From<Table> for PageTable {
    fn from(table: Table) -> Self {
        let headings = table.names.iter().chain(&table.figures).copied().collect();
        let rows = table.rows.into_iter().map(|row| PageRow { names: row.names, figures: row.figures });
        Self { id: table.id, title: table.title, note: table.note, headings, rows: rows.collect() }
    }
}
