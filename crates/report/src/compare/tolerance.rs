//! Tolerances of the comparison.

use std::str::FromStr;

use hayloft_results::COLUMNS;
use hayloft_runtime::words::did_you_mean;

/// The default: the agreement with the study's reference implementation.
const USUAL: f64 = 2e-4;

/// A tolerance for all columns or for one.
#[derive(Debug, Clone, PartialEq)]
pub enum Tolerance {
    /// For every column without a specific tolerance.
    All(f64),
    /// For one column.
    Of {
        /// The column's name.
        column: String,
        /// The tolerance.
        tolerance: f64,
    },
}

/// The tolerance of each column.
///
/// A tolerance t allows a difference of t · max(1, |expected|): absolute for values up to 1 in magnitude, relative for
/// larger ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Tolerances {
    usual: f64,
    own: Vec<(String, f64)>,
}

impl Tolerances {
    /// Collects tolerances. Later ones override earlier ones.
    pub fn new(given: &[Tolerance]) -> Self {
        let mut tolerances = Self { usual: USUAL, own: Vec::new() };
        for tolerance in given {
            match tolerance {
                Tolerance::All(value) => tolerances.usual = *value,
                Tolerance::Of { column, tolerance } => tolerances.own.insert(0, (column.clone(), *tolerance)),
            }
        }
        tolerances
    }

    /// The largest allowed difference from an expected value.
    pub fn allowed(&self, column: &str, expected: f64) -> f64 {
        let own = self.own.iter().find(|(name, _)| name == column);
        own.map_or(self.usual, |(_, tolerance)| *tolerance) * expected.abs().max(1.0)
    }
}

impl FromStr for Tolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, number) = text.split_once('=').map_or((None, text), |(column, number)| (Some(column), number));
        let expected = || format!("expected a number from zero, or COLUMN=NUMBER, got {text}");
        let tolerance: f64 = number.parse().map_err(|_| expected())?;
        if !tolerance.is_finite() || tolerance < 0.0 {
            return Err(expected());
        }
        let Some(column) = column else { return Ok(Self::All(tolerance)) };
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        if !names.contains(&column) {
            return Err(format!(
                "expected a column, one of {}, got {column}{}",
                names.join(", "),
                did_you_mean(column, &names)
            ));
        }
        Ok(Self::Of { column: column.to_owned(), tolerance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_figures_have_an_absolute_tolerance_and_large_ones_a_relative() {
        let given: Vec<Tolerance> = ["1e-3", "l0=0.5", "l0=0.1"].iter().map(|text| text.parse().unwrap()).collect();
        let tolerances = Tolerances::new(&given);
        let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "{got}");
        near(tolerances.allowed("mse", 0.01), 1e-3);
        near(tolerances.allowed("mse", -200.0), 0.2);
        near(tolerances.allowed("l0", 20.0), 2.0);
        near(Tolerances::new(&[]).allowed("mse", 0.0), 2e-4);
    }

    #[test]
    fn bad_tolerances_are_refused() {
        for text in ["", "-1", "nan", "inf", "l0=", "l_0=1", "=1"] {
            assert!(text.parse::<Tolerance>().is_err(), "{text}");
        }
    }
}
