//! Tables for a terminal.

use hayloft_results::EXPLAINED_VARIANCES;
use hayloft_runtime::TextTable;

use crate::experiment::open::Report;
use crate::tables::table::Table;

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
            rows: self.rows.iter().map(|row| row.cells().map(|cell| printable(cell)).collect()).collect(),
            is_ruled: true,
        };
        format!("{}\n{}", printable(&self.title), table.fit(width))
    }
}

/// Replaces control characters, which could move the terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
