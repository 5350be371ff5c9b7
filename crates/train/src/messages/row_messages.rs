//! Messages about the rows, logged before the first step.

use hayloft_rows::{ExcludeChoice, OutlierNorm};

use crate::data::{Census, LargestRows};
use crate::selection::Selection;

/// If the largest hundredth of the rows hold more than this share of the squared norm, they dominate training. They hold
/// about 1 % if norms are alike, a few per cent for ordinary text, and most of it for text with attention sinks.
const LARGE: f64 = 1.0 / 3.0;

/// The suggested outlier rule against attention sinks, as in `dictionary_learning`.
const TEN_MEDIANS: OutlierNorm = OutlierNorm::MedianMultiple(10.0);

/// Warns if the outlier rule drops too many rows, and reports the squared-norm share of the largest rows.
pub(crate) fn log(census: &Census, selection: &Selection) {
    let warning = census.counts().warning(selection.outliers.as_ref(), selection.scale.source, None);
    if let Some(said) = warning {
        tracing::warn!("{said}");
    }
    match sinks(census.largest, selection) {
        Some((said, false)) => tracing::info!("{said}"),
        Some((said, true)) => tracing::warn!("{said}"),
        None => {}
    }
}

/// Returns the message on the largest rows, and whether it is a warning.
fn sinks(largest: LargestRows, selection: &Selection) -> Option<(String, bool)> {
    let (share, bos) = (largest.squared_norm_share?, largest.bos_share?);
    let said = format!("the largest 1 % of rows ({}) hold {:.1} % of the squared norm", largest.rows, 100.0 * share);
    if share <= LARGE {
        return Some((said, false));
    }
    let exclude = selection.rows.excluded.choice;
    let advice = if bos > 0.5 && exclude == ExcludeChoice::None {
        "--exclude bos leaves them out".to_owned()
    } else {
        match selection.outliers.map(|outliers| outliers.rule) {
            Some(rule @ OutlierNorm::MedianMultiple(_)) => {
                format!("a smaller multiple than --outlier-norm {rule} leaves more of them out")
            }
            _ => format!("--outlier-norm {TEN_MEDIANS} leaves out those above ten times the median"),
        }
    };
    Some((format!("{said}, and {:.1} % of that is BOS: training is mostly about them. {advice}", 100.0 * bos), true))
}
