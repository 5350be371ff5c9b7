//! The tables on a terminal.

use comfy_table::{CellAlignment, Table as Grid};

use super::load::Report;
use super::numbers::COLUMNS;
use super::tables::Table;
use crate::output::{EXPLAINED_VARIANCES, PADDING, RULED};

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
        let mut grid = Grid::new();
        grid.load_style(RULED);
        let short = |heading: &&'static str| {
            let column = COLUMNS.iter().find(|column| column.heading == *heading);
            column.map_or(SHORT_GAP, |column| column.short)
        };
        grid.set_header(self.names.iter().copied().chain(self.figures.iter().map(short)));
        for row in &self.rows {
            grid.add_row(row.names.iter().chain(&row.figures).map(|cell| printable(cell)));
        }
        for (place, column) in grid.column_iter_mut().enumerate() {
            column.set_padding(PADDING);
            if place >= self.names.len() {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}\n{grid}", printable(&self.title))
    }
}

/// A name that does not move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
