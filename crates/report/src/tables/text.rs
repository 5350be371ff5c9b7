//! Tables for a terminal.

use hayloft_results::EXPLAINED_VARIANCES;
use hayloft_runtime::TextTable;

use crate::experiment::open::Report;
use crate::tables::table::{Table, TableRow};

impl Report {
    /// Renders the tables with their titles, at most `width` columns wide, the definitions of the two explained
    /// variances, and the titles of the tables that only files have.
    pub fn table(&self, width: usize) -> String {
        let (printed, others): (Vec<Table>, Vec<Table>) = self.tables().into_iter().partition(|table| table.is_printed);
        let tables = printed.iter().map(|table| table.text(width)).collect::<Vec<_>>().join("\n\n");
        let mut text = format!("{tables}\n\n{}", EXPLAINED_VARIANCES.join("\n"));
        for Table { title, .. } in &others {
            text.extend(["\nIn the report, not printed: ", &printable(title)]);
        }
        text
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
