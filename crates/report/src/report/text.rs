//! Tables for a terminal.

use hayloft_results::{EXPLAINED_VARIANCES, ruled};

use super::load::Report;
use super::numbers::COLUMNS;
use super::tables::Table;

/// The only table heading that is not a result column.
const SHORT_GAP: &str = "EV\ngap %";

impl Report {
    /// Renders all tables with their titles, and the definitions of the two explained variances.
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

/// Replaces control characters, which could move the terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
