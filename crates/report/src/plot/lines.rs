//! Line plots.

use kuva::prelude::{Layout, LinePlot, Plot, ReferenceLine, ScatterPlot};

use super::picture::{Caption, draw, layout, plain};
use super::style::{Ink, Stroke};

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Linear,
    Logarithmic,
}

/// How points are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    Straight,
    /// Each value holds until the next point, as in a histogram outline.
    Steps,
}

/// Labels and scales of the axes.
#[derive(Debug, Clone)]
pub(crate) struct Axes<'label> {
    pub(crate) x: (&'label str, Axis),
    pub(crate) y: (&'label str, Axis),
    pub(crate) join: Join,
}

/// A line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// The legend's text; empty for none.
    pub(crate) label: String,
    pub(crate) ink: Ink,
    pub(crate) stroke: Stroke,
    /// Points that are not finite are skipped.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A vertical line.
#[derive(Debug, Clone)]
pub(crate) struct Threshold {
    pub(crate) label: String,
    pub(crate) x: f64,
}

/// Draws lines; `None` if there are none.
pub(crate) fn lines(caption: &Caption, axes: &Axes<'_>, series: &[Series], thresholds: &[Threshold]) -> Option<String> {
    let plots: Vec<Plot> = series.iter().filter_map(|series| line(series, axes)).collect();
    if plots.is_empty() {
        return None;
    }
    let mut layout = layout(&plots, axes.x.0, axes.y.0);
    if axes.x.1 == Axis::Logarithmic {
        layout = layout.with_log_x();
    }
    if axes.y.1 == Axis::Logarithmic {
        // By default kuva starts the axis at the power of ten below.
        let ends = |series: &Series| series.points.iter().map(|point| point.1).filter(|y| *y > 0.0).reduce(f64::min);
        layout = layout.with_log_y();
        if let Some(least) = series.iter().filter_map(ends).reduce(f64::min) {
            layout = layout.with_y_axis_min(least);
        }
    }
    for Threshold { label, x } in thresholds {
        let line = ReferenceLine::vertical(*x).with_color(Ink::Limit.css()).with_label(plain(label));
        layout = reaching(layout, *x).with_reference_line(line.with_stroke_width(2.0).with_dasharray("7 4"));
    }
    Some(draw(caption, plots, layout, Vec::new()))
}

/// Extends the x range to include `x`.
fn reaching(mut layout: Layout, x: f64) -> Layout {
    for range in [Some(&mut layout.x_range), layout.data_x_range.as_mut()].into_iter().flatten() {
        *range = (range.0.min(x), range.1.max(x));
    }
    layout
}

/// Draws one line; `None` if no point can be drawn.
pub(super) fn line(series: &Series, axes: &Axes<'_>) -> Option<Plot> {
    let drawable = |axis: Axis, value: f64| value.is_finite() && (axis == Axis::Linear || value > 0.0);
    let points = series.points.iter().copied().filter(|&(x, y)| drawable(axes.x.1, x) && drawable(axes.y.1, y));
    let points: Vec<(f64, f64)> = points.collect();
    if points.is_empty() {
        return None;
    }
    let line = LinePlot::new().with_data(points).with_color(series.ink.css()).with_stroke_width(2.5);
    let line = line.with_line_style(series.stroke.line_style());
    let line = if series.label.is_empty() { line } else { line.with_legend(plain(&series.label)) };
    Some(if axes.join == Join::Steps { line.with_step() } else { line }.into())
}

/// Draws a line with a gap at each undefined point: one line per run of points, and a marker for a single point.
pub(super) fn broken_line(series: &Series, axes: &Axes<'_>) -> Vec<Plot> {
    let runs = series.points.split(|(_, y)| !y.is_finite()).filter(|run| !run.is_empty());
    let mut label = plain(&series.label);
    let plots = runs.filter_map(|run| match run {
        [point] => {
            let marker = ScatterPlot::new().with_data([*point]).with_color(series.ink.css());
            let marker = marker.with_marker(series.ink.marker()).with_size(4.0);
            let label = std::mem::take(&mut label);
            Some(if label.is_empty() { marker } else { marker.with_legend(label) }.into())
        }
        _ => line(&Series { label: std::mem::take(&mut label), points: run.to_vec(), ..series.clone() }, axes),
    });
    plots.collect()
}
