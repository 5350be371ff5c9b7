//! Tables for a terminal.

use hayloft_results::EXPLAINED_VARIANCES;
use hayloft_runtime::TextTable;

use crate::experiment::open::Report;
use crate::tables::table::{Table, TableRow};

impl Report {
    /// Renders all tables with their titles, at most `width` columns wide, and the definitions of the two explained
    /// variances.
    pub fn table(&self, width: usize) -> String {
        let tables = self.tables().iter().map(|table| table.text(width)).collect::<Vec<_>>().join("\n\n");
        format!("{tables}\n\n{}", EXPLAINED_VARIANCES.join("\n"))
    }
}

impl Table {
    /// Renders the title and the table, at most `width` columns wide.
    pub(crate) fn text(&self, width: usize) -> String {
        let short = self.figures.iter().map(|heading| heading.short);
        let table = TextTable {
            headings: self.names.iter().copied().chain(short).map(str::to_owned).collect(),
            names: self.names.len(),
            rows: self.rows.iter().map(cells).collect(),
            is_ruled: true,
        };
        format!("{}\n{}", printable(&self.title), table.fit(width))
    }
}

/// The ends of an interval stand below its figure, and words below each other.
fn cells(row: &TableRow) -> Vec<String> {
    let names = row.names.iter().map(|name| printable(name));
    let figures = row.figures.iter().map(|cell| {
        let text = printable(&cell.text).replace(" [", "\n[");
        if text.starts_with(char::is_alphabetic) { text.replace(", ", ",\n").replace(" (", "\n(") } else { text }
    });
    names.chain(figures).collect()
}

/// Replaces control characters, which could move the terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
