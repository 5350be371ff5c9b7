//! Metrics by subset of the corpus and by position in the sequence.

use std::str::FromStr;

use super::table::{figure, percent, ruled};
use crate::columns::recovered;
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
    let headings = [
        "Subset",
        "Losses",
        "L0",
        "CE\nrec. %",
        "Clean\nCE",
        "SAE\nCE",
        "CE\ndelta",
        "Zero\nCE",
        "EV %",
        "EV\npooled %",
        "MSE",
    ];
    let rows = result.subsets.iter().map(|subset| {
        let columns = &subset.columns;
        vec![
            subset.subset.clone().unwrap_or_else(|| "–".to_owned()),
            columns.loss_tokens.to_string(),
            figure(columns.l0),
            percent(columns.ce_recovered),
            figure(columns.ce_clean),
            figure(columns.ce_sae),
            figure(columns.ce_delta),
            figure(columns.ce_zero),
            percent(columns.explained_variance),
            percent(columns.explained_variance_pooled),
            figure(columns.mse),
        ]
    });
    ruled(&headings, rows, 1)
}

fn by_position(result: &SaeResult) -> String {
    let sums = &result.sums.positions;
    let (tokens, activations) = (sums.loss_tokens.values(), sums.activation_rows.values());
    let bins = tokens.len().max(activations.len());
    let headings =
        ["Positions", "Losses", "L0", "CE rec. %", "Clean CE", "SAE CE", "CE delta", "Zero CE", "EV pooled %", "MSE"];
    let rows = (0..bins).map(|bin| {
        let count = |counts: &[u64]| counts.get(bin).copied().unwrap_or(0);
        let sum = |sums: &[f64]| sums.get(bin).copied().unwrap_or(0.0);
        let defined = |value: f64| value.is_finite().then_some(value);
        let loss = |sums: &[f64]| sum(sums) / count(tokens) as f64;
        let rows = count(activations) as f64;
        let (clean, zero) = (loss(sums.clean_loss.values()), loss(sums.zero_loss.values()));
        let sae = if result.sums.is_spliced_at(bin) { loss(sums.sae_loss.values()) } else { f64::NAN };
        let (error, deviation) = (sum(sums.squared_error.values()), sum(sums.squared_deviation.values()));
        vec![
            positions(bin),
            count(tokens).to_string(),
            figure(defined(count(sums.latents.values()) as f64 / rows)),
            percent(defined(recovered(clean, sae, zero))),
            figure(defined(clean)),
            figure(defined(sae)),
            figure(defined(sae - clean)),
            figure(defined(zero)),
            percent(defined(1.0 - error / deviation)),
            figure(defined(error / rows)),
        ]
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
