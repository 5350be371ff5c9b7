//! Tables for a terminal.

use hayloft_results::{EXPLAINED_VARIANCES, ruled};

use crate::experiment::open::Report;
use crate::tables::table::Table;

impl Report {
    /// Renders all tables with their titles, and the definitions of the two explained variances.
    pub fn table(&self) -> String {
        let tables = self.tables().iter().map(Table::text).collect::<Vec<_>>().join("\n\n");
        format!("{tables}\n\n{}", EXPLAINED_VARIANCES.join("\n"))
    }
}

impl Table {
    /// Renders the title and the table.
    pub(crate) fn text(&self) -> String {
        let short = self.figures.iter().map(|heading| heading.short);
        let headings: Vec<String> = self.names.iter().copied().chain(short).map(str::to_owned).collect();
        let rows = self.rows.iter().map(|row| row.cells().map(|cell| printable(cell)).collect());
        format!("{}\n{}", printable(&self.title), ruled(&headings, rows, self.names.len()))
    }
}

/// Replaces control characters, which could move the terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
