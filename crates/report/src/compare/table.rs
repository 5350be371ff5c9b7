//! The comparison as a terminal table.

use comfy_table::{CellAlignment, Table};
use hayloft_results::RULED;

use super::cells::{Comparison, Verdict};

impl Comparison {
    /// Renders one line per cell, and the unmatched rows.
    pub fn table(&self) -> String {
        let mut grid = Table::new();
        grid.load_style(RULED);
        grid.set_header(["Row", "Column", "Expected", "Got", "Difference", "Allowed", ""]);
        for cell in &self.cells {
            let verdict = match cell.verdict {
                Verdict::Agrees => "",
                Verdict::Differs => "DIFFERS",
                Verdict::Missing => "MISSING",
            };
            let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.6}"));
            let difference = cell.difference.map_or_else(|| "–".to_owned(), |difference| format!("{difference:+.2e}"));
            grid.add_row([
                cell.row.clone(),
                cell.column.to_owned(),
                number(Some(cell.expected)),
                number(cell.got),
                difference,
                format!("{:.1e}", cell.allowed),
                verdict.to_owned(),
            ]);
        }
        for column in grid.column_iter_mut().skip(2).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{grid}\n{}", self.in_words());
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
