//! Formatting of numbers in reports.

use hayloft_results::{Digits, format_number};

/// Formats a fraction in per cent.
pub(crate) fn percent(value: Option<f64>) -> String {
    format_number(value.map(|fraction| 100.0 * fraction), Digits::Decimals(2))
}

pub(crate) fn two(value: Option<f64>) -> String {
    format_number(value, Digits::Decimals(2))
}

pub(crate) fn four(value: Option<f64>) -> String {
    format_number(value, Digits::Decimals(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_figures_are_dashes() {
        for value in [None, Some(f64::NAN), Some(f64::NEG_INFINITY)] {
            assert_eq!((percent(value), two(value), four(value)), ("–".to_owned(), "–".to_owned(), "–".to_owned()));
        }
        assert_eq!(percent(Some(-26.62)), "-2662.00");
    }
}
