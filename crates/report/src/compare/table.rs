//! The comparison as a terminal table.

use hayloft_results::{Digits, format_number};
use hayloft_runtime::{TextTable, UNDEFINED};

use super::cells::{Cell, Comparison, Verdict};

impl Comparison {
    /// Renders a table for each row, at most `width` columns wide, with one line per cell, and the unmatched rows.
    pub fn table(&self, width: usize) -> String {
        let mut text = String::new();
        for cells in self.cells.chunk_by(|one, other| one.row == other.row) {
            text.extend([cells[0].row.as_str(), "\n", &of_cells(cells).fit(width), "\n"]);
        }
        text.push_str(&self.in_words());
        for row in &self.not_expected {
            text.push_str("\nmeasured but not expected: ");
            text.push_str(row);
        }
        text
    }

    /// Lists what was not compared; empty if everything was.
    pub fn not_compared_in_words(&self) -> Vec<String> {
        let list = |counts: &mut dyn Iterator<Item = (&str, usize)>| {
            counts.map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>().join(", ")
        };
        let mut lines = Vec::new();
        let figures: usize = self.not_expected_figures.values().sum();
        if figures > 0 {
            let names = list(&mut self.not_expected_figures.iter().map(|(name, count)| (*name, *count)));
            lines.push(format!("{figures} measured figures are expected nowhere and not compared: {names}"));
        }
        if !self.no_columns.is_empty() {
            let names = list(&mut self.no_columns.iter().map(|(name, count)| (name.as_str(), *count)));
            lines.push(format!("numbers of expected rows that are no columns are not compared: {names}"));
        }
        lines.iter().map(|line| line.replace(char::is_control, " ")).collect()
    }

    /// Counts of cells that agree, differ and are missing, as text.
    pub fn in_words(&self) -> String {
        let [agree, differ, missing] =
            [Verdict::Agrees, Verdict::Differs, Verdict::Missing].map(|verdict| self.count(verdict));
        format!("{agree} of {} cells agree, {differ} differ, {missing} are missing", self.cells.len())
    }
}

/// The cells of one row.
fn of_cells(cells: &[Cell]) -> TextTable {
    let row = |cell: &Cell| {
        let verdict = match cell.verdict {
            Verdict::Agrees => "",
            Verdict::Differs => "DIFFERS",
            Verdict::Missing => "MISSING",
        };
        let number = |value| format_number(value, Digits::Decimals(6));
        let difference =
            cell.difference.map_or_else(|| UNDEFINED.to_owned(), |difference| format!("{difference:+.2e}"));
        let allowed = format!("{:.1e}", cell.allowed);
        vec![
            cell.column.to_owned(),
            number(Some(cell.expected)),
            number(cell.got),
            difference,
            allowed,
            verdict.to_owned(),
        ]
    };
    TextTable {
        headings: ["Column", "Expected", "Got", "Difference", "Allowed", ""].map(str::to_owned).into(),
        names: 1,
        rows: cells.iter().map(row).collect(),
        is_ruled: true,
    }
}
