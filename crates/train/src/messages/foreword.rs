//! What is said of the rows before the first step.

use hayloft_rows::{ExcludeChoice, OutlierNorm};

use crate::data::{Census, LargestRows};
use crate::selection::Selection;

/// Where the largest hundredth of the rows hold more of the squared norm than this, training is about them and not about the rest.
/// Of norms that are alike they hold a hundredth, of text some hundredths; of text with attention sinks, most.
const LARGE: f64 = 1.0 / 3.0;

/// What a multiple of the median is called that leaves attention sinks out, as in `dictionary_learning`.
const TEN_MEDIANS: OutlierNorm = OutlierNorm::MedianMultiple(10.0);

/// Says where the rule for outliers leaves out too much, and what the largest rows hold of the squared norm.
pub(crate) fn say(census: &Census, selection: &Selection) {
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

/// What the largest rows hold, and whether that is too much.
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
