//! The report as one self-contained HTML page: no network, and a script that sorts tables.

use hayloft_results::{Column, ColumnTable};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use crate::error::ReportError;
use crate::experiment::open::Report;
use crate::figures::{Data, Figure, Gallery};
use crate::page::provenance::Fact;
use crate::plot::{Palette, variables_dark, variables_light};
use crate::tables::table::{Cell, Table};

/// The suffix `.html` makes minijinja escape every value that the template does not mark as safe.
const NAME: &str = "page.html";
const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The template's input.
#[derive(Serialize)]
struct Page<'report> {
    title: &'report str,
    description: Option<&'report str>,
    /// Trusted, and inserted unescaped.
    style: String,
    /// Trusted as well.
    script: &'static str,
    left_out: Vec<String>,
    tables: Vec<PageTable>,
    details: Vec<PageTable>,
    galleries: Vec<PageGallery>,
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
    /// The number of headings of names, which come first.
    names: usize,
    rows: Vec<PageRow>,
}

/// A row: its names, as row headers, and its metrics.
#[derive(Serialize)]
struct PageRow {
    names: Vec<String>,
    figures: Vec<PageCell>,
}

/// A metric, and what rows are sorted by.
#[derive(Serialize)]
struct PageCell {
    text: String,
    value: String,
    is_bold: bool,
}

/// Pictures of one kind.
#[derive(Serialize)]
struct PageGallery {
    id: &'static str,
    title: &'static str,
    introduction: &'static str,
    figures: Vec<PageFigure>,
}

/// A picture. Its SVG is inserted unescaped.
#[derive(Serialize)]
struct PageFigure {
    id: String,
    title: String,
    description: String,
    svg: String,
    data: Data,
}

#[derive(Serialize)]
struct Definition {
    term: &'static str,
    meaning: &'static str,
}

impl Report {
    /// Renders the page. The template escapes all names, because they come from untrusted files.
    pub(crate) fn html(&self) -> Result<String, ReportError> {
        let mut environment = Environment::new();
        environment.add_template(NAME, PAGE)?;
        let style = format!(
            ":root {{ color-scheme: light dark; {} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {} }} }}\n@media print {{ :root {{ color-scheme: light; {} }} }}\n{STYLE}",
            variables_light(),
            variables_dark(),
            variables_light(),
        );
        let definition = |column: &Column| Definition { term: column.title, meaning: column.definition };
        let (main, others): (Vec<Table>, Vec<Table>) = self.tables().into_iter().partition(|table| table.is_main);
        let page = Page {
            title: &self.experiment.title,
            description: self.experiment.description.as_deref(),
            style,
            script: SCRIPT,
            left_out: self.left_out.iter().map(ToString::to_string).collect(),
            tables: main.into_iter().map(PageTable::from).collect(),
            details: others.into_iter().map(PageTable::from).collect(),
            galleries: self.galleries().into_iter().map(PageGallery::from).collect(),
            definitions: Column::of(ColumnTable::Main).map(definition).collect(),
            provenance: self.provenance(),
        };
        Ok(environment.get_template(NAME)?.render(Serde(&page))?)
    }
}

impl From<Table> for PageTable {
    fn from(table: Table) -> Self {
        let (headings, names) = (table.headings().collect(), table.names.len());
        let cell = |Cell { text, value, is_bold, .. }| PageCell {
            text,
            value: value.map_or_else(String::new, |value: f64| format!("{value:?}")),
            is_bold,
        };
        let rows = table
            .rows
            .into_iter()
            .map(|row| PageRow { names: row.names, figures: row.figures.into_iter().map(cell).collect() });
        Self { id: table.id, title: table.title, note: table.note, headings, names, rows: rows.collect() }
    }
}

impl From<Gallery> for PageGallery {
    fn from(Gallery { id, title, introduction, figures }: Gallery) -> Self {
        Self { id, title, introduction, figures: figures.into_iter().map(PageFigure::from).collect() }
    }
}

impl From<Figure> for PageFigure {
    fn from(Figure { id, title, description, drawing, data }: Figure) -> Self {
        Self { id, title, description, svg: drawing.svg(Palette::Page), data }
    }
}
