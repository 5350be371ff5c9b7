//! Formatting of metrics in tables.

use hayloft_results::Columns;

/// The cell of an undefined metric.
const UNDEFINED: &str = "–";

/// A column: its headings, its definition, its value and its format.
pub(super) struct Column {
    pub(super) heading: &'static str,
    /// Heading for a terminal, of one or two lines.
    pub(super) short: &'static str,
    pub(super) meaning: &'static str,
    pub(super) value: fn(&Columns) -> Option<f64>,
    pub(super) show: fn(Option<f64>) -> String,
}

/// The study's columns, with pooled explained variance next to the study's.
pub(super) const COLUMNS: [Column; 9] = [
    Column {
        heading: "L0",
        short: "L0",
        meaning: "mean count of latents above zero",
        value: |columns| columns.l0,
        show: two,
    },
    Column {
        heading: "CE loss recovered %",
        short: "CE\nrec. %",
        meaning: "(zero-ablation CE − SAE CE) / (zero-ablation CE − clean CE), in per cent",
        value: |columns| columns.ce_recovered,
        show: percent,
    },
    Column {
        heading: "Clean CE",
        short: "Clean\nCE",
        meaning: "mean next-token cross-entropy of the untouched run, in nats",
        value: |columns| columns.ce_clean,
        show: four,
    },
    Column {
        heading: "SAE CE",
        short: "SAE\nCE",
        meaning: "the same with the SAE's reconstruction in place of the residual",
        value: |columns| columns.ce_sae,
        show: four,
    },
    Column {
        heading: "CE delta",
        short: "CE\ndelta",
        meaning: "SAE CE − clean CE",
        value: |columns| columns.ce_delta,
        show: four,
    },
    Column {
        heading: "Zero-ablation CE",
        short: "Zero\nCE",
        meaning: "the same with zeros in place of the residual",
        value: |columns| columns.ce_zero,
        show: four,
    },
    Column {
        heading: "EV %",
        short: "EV %",
        meaning: "mean over activations of 1 − ‖x − r‖² / ‖x − mean‖², in per cent; it can be hugely negative. SAELens's explained_variance_legacy",
        value: |columns| columns.explained_variance,
        show: percent,
    },
    Column {
        heading: "EV pooled %",
        short: "EV\npooled %",
        meaning: "1 − Σ‖x − r‖² / Σ‖x − mean‖² over the activations, in per cent. SAELens's explained_variance",
        value: |columns| columns.explained_variance_pooled,
        show: percent,
    },
    Column {
        heading: "MSE",
        short: "MSE",
        meaning: "mean over activations of the squared error, in scaled space",
        value: |columns| columns.mse,
        show: four,
    },
];

/// Formats a metric with the given decimals; a dash if undefined.
pub(super) fn figure(value: Option<f64>, decimals: usize) -> String {
    let defined = value.filter(|value| value.is_finite());
    defined.map_or_else(|| UNDEFINED.to_owned(), |value| format!("{value:.decimals$}"))
}

pub(super) fn percent(value: Option<f64>) -> String {
    figure(value.map(|fraction| 100.0 * fraction), 2)
}

pub(super) fn two(value: Option<f64>) -> String {
    figure(value, 2)
}

pub(super) fn four(value: Option<f64>) -> String {
    figure(value, 4)
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
