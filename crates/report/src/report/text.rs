//! The tables on a terminal.

use hayloft_results::{EXPLAINED_VARIANCES, ruled};

use super::load::Report;
use super::numbers::COLUMNS;
use super::tables::Table;

/// The one heading of a table that is not a column of results.
const SHORT_GAP: &str = "EV\ngap %";

impl Report {
    /// All tables, each under its title, and what the two explained variances in them are.
    pub fn table(&self) -> String {
        let tables = self.tables().iter().map(Table::text).collect::<Vec<_>>().join("\n\n");
        format!("{tables}\n\n{}", EXPLAINED_VARIANCES.join("\n"))
    }
}

impl Table {
    fn text(&self) -> String {
        let short = |heading: &&'static str| {
            let column = COLUMNS.iter().find(|column| column.heading == *heading);
            column.map_or(SHORT_GAP, |column| column.short)
        };
        let headings: Vec<&str> = self.names.iter().copied().chain(self.figures.iter().map(short)).collect();
        let rows =
            self.rows.iter().map(|row| row.names.iter().chain(&row.figures).map(|cell| printable(cell)).collect());
        format!("{}\n{}", printable(&self.title), ruled(&headings, rows, self.names.len()))
    }
}

/// A name that does not move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
