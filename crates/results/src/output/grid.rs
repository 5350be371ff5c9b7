//! Tables on a terminal.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// Rules above, below and under the headings; none between rows.
pub const RULED: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Blanks before and after a cell, besides the column separator. A table of nine metrics fits 100 columns.
const PADDING: (u16, u16) = (1, 0);

/// Renders a table. The first `left` columns are left-aligned, the others right-aligned.
pub fn ruled(headings: &[String], rows: impl Iterator<Item = Vec<String>>, left: usize) -> String {
    let mut table = Table::new();
    table.load_style(RULED);
    table.set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding(PADDING);
        if place >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Formats a count; a dash if undefined.
pub fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}
