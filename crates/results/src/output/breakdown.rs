//! Metrics by subset of the corpus and by position in the sequence.

use std::str::FromStr;

use super::grid::ruled;
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
            other => Err(format!("expected subset or position, got {other}")),
        }
    }
}

impl Results {
    /// Renders a table for each SAE and section, with a heading.
    pub fn breakdown(&self, by: Breakdown) -> String {
        let table = |result: &SaeResult| match by {
            Breakdown::Subset => format!("{}, {} rows, by subset\n{}", result.sae, result.section, by_subset(result)),
            Breakdown::Position => {
                format!("{}, {} rows, by position\n{}", result.sae, result.section, by_position(result))
            }
        };
        self.results.iter().map(table).collect::<Vec<_>>().join("\n")
    }
}

fn by_subset(result: &SaeResult) -> String {
    let columns: Vec<&Column> = Column::of(ColumnTable::Main).collect();
    let headings = columns.iter().map(|column| column.heading.to_owned());
    let headings: Vec<String> = ["Subset", "Losses"].map(str::to_owned).into_iter().chain(headings).collect();
    let rows = result.subsets.iter().map(|own| {
        let name = own.subset.clone().unwrap_or_else(|| "–".to_owned());
        let cells = columns.iter().map(|column| column.text(&own.columns, None));
        [name, own.columns.loss_tokens.to_string()].into_iter().chain(cells).collect()
    });
    ruled(&headings, rows, 1)
}

fn by_position(result: &SaeResult) -> String {
    let is_shown = |column: &&Column| column.broken_down == BrokenDown::BySubsetAndPosition;
    let columns: Vec<&Column> = Column::of(ColumnTable::Main).filter(is_shown).collect();
    let headings = columns.iter().map(|column| column.line());
    let headings: Vec<String> = ["Positions", "Losses"].map(str::to_owned).into_iter().chain(headings).collect();
    let rows = result.sums.by_position().enumerate().map(|(bin, sums)| {
        let own = Columns::of(&sums, result.scale);
        let cells = columns.iter().map(|column| column.text(&own, None));
        [positions(bin), own.loss_tokens.to_string()].into_iter().chain(cells).collect()
    });
    ruled(&headings, rows, 1)
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
