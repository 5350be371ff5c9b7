//! Metrics by subset of the corpus and by position in the sequence.

use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;
use hayloft_runtime::{TextTable, UNDEFINED};

use crate::columns::{BrokenDown, Column, ColumnTable, Columns};
use crate::histograms::first_position;
use crate::results::{Results, SaeResult};

/// The dimension to break metrics down by.
///
/// ```
/// use hayloft_results::Breakdown;
///
/// assert_eq!("subset".parse(), Ok(Breakdown::Subset));
/// assert!("token".parse::<Breakdown>().unwrap_err().contains("subset or position"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakdown {
    /// The subset of the corpus of a token's document.
    Subset,
    /// The position in the sequence, in bins.
    Position,
}

impl FromStr for Breakdown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "subset" => Ok(Self::Subset),
            "position" => Ok(Self::Position),
            other => {
                let near = did_you_mean(other, ["subset", "position"]);
                Err(format!("expected subset or position, got {other}{near}"))
            }
        }
    }
}

impl Results {
    /// Renders a table for each SAE and section, at most `width` columns wide, with a heading.
    pub fn breakdown(&self, by: Breakdown, width: usize) -> String {
        let table = |result: &SaeResult| {
            let (what, table) = match by {
                Breakdown::Subset => ("subset", by_subset(result)),
                Breakdown::Position => ("position", by_position(result)),
            };
            format!("{}, {} rows, by {what}\n{}", result.sae, result.section, table.fit(width))
        };
        self.results.iter().map(table).collect::<Vec<_>>().join("\n")
    }
}

fn by_subset(result: &SaeResult) -> TextTable {
    let columns: Vec<&Column> = Column::of(ColumnTable::Main).collect();
    let rows = result.subsets.iter().map(|own| {
        let name = own.subset.clone().unwrap_or_else(|| UNDEFINED.to_owned());
        row(name, &own.columns, &columns)
    });
    table("Subset", columns.iter().map(|column| column.heading.to_owned()), rows.collect())
}

fn by_position(result: &SaeResult) -> TextTable {
    let is_shown = |column: &&Column| column.broken_down == BrokenDown::BySubsetAndPosition;
    let columns: Vec<&Column> = Column::of(ColumnTable::Main).filter(is_shown).collect();
    let of_bin = |(bin, sums)| row(positions(bin), &Columns::of(&sums, result.scale), &columns);
    let rows = result.sums.by_position().enumerate().map(of_bin);
    table("Positions", columns.iter().map(|column| column.line()), rows.collect())
}

/// A name, the number of losses, and the metrics.
fn row(name: String, own: &Columns, columns: &[&Column]) -> Vec<String> {
    let cells = columns.iter().map(|column| column.text(own, None));
    [name, own.loss_tokens.to_string()].into_iter().chain(cells).collect()
}

fn table(name: &str, headings: impl Iterator<Item = String>, rows: Vec<Vec<String>>) -> TextTable {
    let headings = [name, "Losses"].map(str::to_owned).into_iter().chain(headings).collect();
    TextTable { headings, names: 1, rows, is_ruled: true }
}

/// The positions of a bin, as text.
fn positions(bin: usize) -> String {
    let (first, last) = (first_position(bin), first_position(bin + 1) - 1);
    if first == last { first.to_string() } else { format!("{first}–{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_called_by_their_positions() {
        assert_eq!([0, 7, 8, 12].map(positions), ["0", "7", "8–9", "16–19"]);
    }
}
