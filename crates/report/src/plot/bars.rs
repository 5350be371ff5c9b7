//! Grouped bar plots.

use kuva::prelude::{BarPlot, Plot};

use super::picture::{Caption, draw, layout, plain};
use super::style::Ink;

/// A group of bars.
#[derive(Debug, Clone)]
pub(crate) struct BarGroup {
    pub(crate) label: String,
    /// One value per series; an undefined value has no bar.
    pub(crate) values: Vec<Option<f64>>,
}

/// Draws bars; `None` if there are none.
pub(crate) fn bars(
    caption: &Caption,
    value_label: &str,
    series: &[(String, Ink)],
    groups: &[BarGroup],
) -> Option<String> {
    if !groups.iter().flat_map(|group| &group.values).any(Option::is_some) {
        return None;
    }
    let hatches: Vec<_> = series.iter().map(|(_, ink)| ink.hatch(&caption.id)).collect();
    let mut plot = BarPlot::new().with_horizontal(true);
    // From the bottom up.
    for group in groups.iter().rev() {
        let values = group.values.iter().map(|value| value.unwrap_or(0.0));
        plot = plot.with_group(plain(&group.label), values.zip(hatches.iter().map(|hatch| hatch.fill.clone())));
    }
    let labels: Vec<String> = series.iter().map(|(label, _)| plain(label)).collect();
    let plots: Vec<Plot> = vec![plot.with_legend(labels.iter().map(String::as_str).collect()).into()];
    let rows = groups.len() * series.len() + groups.len();
    let layout = layout(&plots, value_label, "").with_height(110.0 + 20.0 * rows as f64);
    Some(draw(caption, plots, layout, hatches.into_iter().map(|hatch| hatch.definition).collect()))
}
