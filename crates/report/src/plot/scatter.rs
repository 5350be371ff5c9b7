//! Scatter plots.

use kuva::prelude::{Plot, ScatterPlot};

use super::picture::{Caption, draw, layout, plain};
use super::style::Ink;

/// Points of one series.
#[derive(Debug, Clone)]
pub(crate) struct PointSeries {
    pub(crate) label: String,
    pub(crate) ink: Ink,
    /// Filled or hollow, so that one colour can serve two series.
    pub(crate) fill: Fill,
    /// Pairs of x and y.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a marker is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Filled,
    Hollow,
}

/// Draws points; `None` if there are none.
pub(crate) fn scatter(caption: &Caption, labels: (&str, &str), series: &[PointSeries]) -> Option<String> {
    let plots: Vec<Plot> = series.iter().filter_map(points).collect();
    if plots.is_empty() {
        return None;
    }
    let layout = layout(&plots, labels.0, labels.1);
    Some(draw(caption, plots, layout, Vec::new()))
}

fn points(series: &PointSeries) -> Option<Plot> {
    let drawable: Vec<_> = series.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if drawable.is_empty() {
        return None;
    }
    let plot = ScatterPlot::new()
        .with_data(drawable)
        .with_color(series.ink.css())
        .with_marker(series.ink.marker())
        .with_size(6.0)
        .with_marker_stroke_width(2.0)
        .with_marker_opacity(if series.fill == Fill::Filled { 1.0 } else { 0.0 })
        .with_legend(plain(&series.label));
    Some(plot.into())
}
