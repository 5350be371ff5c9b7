//! Charts of lines and points over two axes.

use super::axis::{Axis, Scale};
use super::drawing::{Anchor, Caption, Drawing, Kind, Pen, Point, Primitive, RADIUS, SIZE};
use super::font;
use super::legend::{self, Key};
use super::style::{Ink, Style};

/// How points are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    Straight,
    /// Each value holds until the next point, as in a histogram outline.
    Steps,
    /// A line through the points that no other point of the series beats: none to its left is as high.
    Front,
}

/// An axis of a chart.
#[derive(Debug, Clone)]
pub(crate) struct AxisSpec<'label> {
    pub(crate) label: &'label str,
    pub(crate) scale: Scale,
    /// Values that are marked by lines, and inside the range.
    pub(crate) levels: Vec<Level>,
}

/// A marked value.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    pub(crate) value: f64,
    /// Empty for none.
    pub(crate) label: String,
}

/// A series of points.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) style: Style,
    pub(crate) join: Join,
    /// Whether each point has a marker. A line without markers has a few, that tell it from others.
    pub(crate) has_markers: bool,
    /// A line has a gap at a point that is not finite or has no place on a logarithmic axis.
    pub(crate) points: Vec<Datum>,
}

/// A point of a series.
#[derive(Debug, Clone)]
pub(crate) struct Datum {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) x_interval: Option<(f64, f64)>,
    pub(crate) y_interval: Option<(f64, f64)>,
    /// Shown while the pointer is over the point.
    pub(crate) hover: String,
}

/// A chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart<'label> {
    pub(crate) x: AxisSpec<'label>,
    pub(crate) y: AxisSpec<'label>,
    pub(crate) series: Vec<Series>,
}

/// The width and height of a picture of one chart without its legend.
const SIZES: (f64, f64) = (600.0, 372.0);

/// Markers along a line whose points have none.
const FEW: usize = 5;

/// The most points that are shown under the pointer on a line without markers.
const MOST_TARGETS: usize = 150;

impl Datum {
    pub(crate) fn new(x: f64, y: f64, hover: String) -> Self {
        Self { x, y, x_interval: None, y_interval: None, hover }
    }
}

/// Draws a chart with its legend; `None` if no point can be drawn.
pub(crate) fn chart(caption: Caption, chart: &Chart<'_>) -> Option<Drawing> {
    let mut drawing = Drawing::new(caption, SIZES.0, SIZES.1);
    let entries = draw(&mut drawing, chart, (0.0, 0.0), SIZES)?;
    let height = legend::draw(&mut drawing, (16.0, SIZES.1, SIZES.0 - 16.0), &entries);
    drawing.height = SIZES.1 + height + 8.0;
    Some(drawing)
}

/// Draws a chart into a rectangle of a drawing, without its legend, whose entries it returns; `None` if no point can be
/// drawn.
pub(super) fn draw(
    drawing: &mut Drawing,
    chart: &Chart<'_>,
    (left, top): Point,
    (width, height): (f64, f64),
) -> Option<Vec<(String, Style, Key)>> {
    let (bottom, right) = (top + height - 52.0, left + width - 18.0);
    let above = if chart.x.levels.is_empty() { 14.0 } else { 30.0 };
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let ends = |value: f64, interval: Option<(f64, f64)>| {
        let (low, high) = interval.unwrap_or((value, value));
        [value, low, high]
    };
    let levels = |axis: &AxisSpec<'_>| axis.levels.iter().map(|level| level.value).collect::<Vec<_>>();
    let drawable = || points().filter(|point| chart.x.scale.has(point.x) && chart.y.scale.has(point.y));
    drawable().next()?;
    let y_values = drawable().flat_map(|point| ends(point.y, point.y_interval)).chain(levels(&chart.y));
    let y_axis = Axis::fit(chart.y.scale, y_values, (bottom, top + above))?;
    let y_ticks = y_axis.ticks();
    let widest = y_ticks.iter().map(|(_, label)| font::width(label, SIZE)).fold(0.0, f64::max);
    let start = left + 34.0 + 1.08 * widest;
    let x_values = drawable().flat_map(|point| ends(point.x, point.x_interval)).chain(levels(&chart.x));
    let x_axis = Axis::fit(chart.x.scale, x_values, (start, right))?;
    let place = |x: f64, y: f64| x_axis.place(x).zip(y_axis.place(y));

    let grid = Pen::solid(Ink::Grid, 1.0);
    for (value, label) in &y_ticks {
        let y = y_axis.place(*value).unwrap_or(bottom);
        drawing.frame(Primitive::line((start, y), (right, y), grid));
        drawing.frame(Primitive::text((start - 8.0, y + 0.35 * SIZE), label, Anchor::End, Ink::Text));
    }
    let mut end = f64::NEG_INFINITY;
    for (value, label) in x_axis.ticks() {
        let x = x_axis.place(value).unwrap_or(start);
        drawing.frame(Primitive::line((x, top + above), (x, bottom), grid));
        let half = 0.54 * font::width(&label, SIZE);
        // Labels do not run into each other.
        if x - half > end + 6.0 {
            drawing.frame(Primitive::text((x, bottom + 18.0), &label, Anchor::Middle, Ink::Text));
            end = x + half;
        }
    }
    let area = Primitive::rectangle((start, top + above), (right, bottom), None, Some(Pen::solid(Ink::Axis, 1.2)));
    drawing.add(Kind::Area, String::new(), vec![area]);
    let middle = f64::midpoint(start, right);
    drawing.frame(Primitive::text((middle, bottom + 40.0), chart.x.label, Anchor::Middle, Ink::Text));
    drawing.frame(Primitive::Text {
        at: (left + 18.0, (top + above + bottom) / 2.0),
        content: chart.y.label.to_owned(),
        size: SIZE,
        anchor: Anchor::Middle,
        ink: Ink::Text,
        is_turned: true,
    });
    let dashed = Pen { ink: Ink::Limit, width: 1.5, dashes: &[6.0, 4.0] };
    for (x, level) in chart.x.levels.iter().filter_map(|level| Some((x_axis.place(level.value)?, level))) {
        drawing.frame(Primitive::line((x, top + above), (x, bottom), dashed));
        let half = font::width(&level.label, SIZE) / 2.0;
        let x = x.clamp((start + half).min(middle), (right - half).max(middle));
        drawing.frame(Primitive::text((x, top + above - 8.0), &level.label, Anchor::Middle, Ink::Text));
    }
    for (y, level) in chart.y.levels.iter().filter_map(|level| Some((y_axis.place(level.value)?, level))) {
        drawing.frame(Primitive::line((start, y), (right, y), dashed));
        // A tick at the level says it already.
        if y_ticks.iter().all(|(value, _)| (value - level.value).abs() > 1e-9) {
            drawing.frame(Primitive::text((right - 6.0, y - 5.0), &level.label, Anchor::End, Ink::Text));
        }
    }
    // Lines first, so that no line covers a marker.
    for series in &chart.series {
        draw_lines(drawing, series, &place);
    }
    for series in chart.series.iter().filter(|series| series.has_markers) {
        draw_markers(drawing, series, &place);
    }
    let is_drawn = |series: &&Series| series.points.iter().any(|point| place(point.x, point.y).is_some());
    let entry = |series: &Series| {
        let key = match (series.has_markers, series.join) {
            (true, Join::Front) if series.front().len() < 2 => Key::Marker,
            _ => Key::LineAndMarker,
        };
        (series.label.clone(), series.style, if series.has_few() || series.has_markers { key } else { Key::Line })
    };
    Some(chart.series.iter().filter(is_drawn).map(entry).collect())
}

impl Series {
    /// Whether a line has a few markers.
    fn has_few(&self) -> bool {
        !self.has_markers && self.join == Join::Straight
    }

    /// The points that no other beats, from left to right.
    fn front(&self) -> Vec<&Datum> {
        let mut points: Vec<&Datum> = self.points.iter().filter(|own| own.x.is_finite() && own.y.is_finite()).collect();
        points.sort_by(|one, other| one.x.total_cmp(&other.x).then(other.y.total_cmp(&one.y)));
        let mut highest = f64::NEG_INFINITY;
        points.retain(|point| {
            let is_higher = point.y > highest;
            highest = highest.max(point.y);
            is_higher
        });
        points
    }
}

/// Draws the line of a series, in pieces where it has gaps.
fn draw_lines(drawing: &mut Drawing, series: &Series, place: &impl Fn(f64, f64) -> Option<Point>) {
    let Series { label, style, join, has_markers, .. } = series;
    let points: Vec<&Datum> = if *join == Join::Front { series.front() } else { series.points.iter().collect() };
    let placed: Vec<Option<Point>> = points.iter().map(|point| place(point.x, point.y)).collect();
    let width = if *join == Join::Front { 1.6 } else { 2.2 };
    let pen = Pen { ink: style.ink, width, dashes: style.stroke.dashes() };
    for run in placed.split(Option::is_none) {
        let run: Vec<Point> = run.iter().copied().flatten().collect();
        match (&run[..], join) {
            ([one], _) if !has_markers => {
                drawing.add(Kind::Mark, label.clone(), vec![Primitive::marker(*one, *style, 4.0)]);
            }
            ([] | [_], _) => {}
            (_, Join::Steps) => {
                let corners = run.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
                let path = corners.chain(run.last().copied()).collect();
                drawing.add(Kind::Mark, label.clone(), vec![Primitive::path(path, pen)]);
            }
            _ => drawing.add(Kind::Mark, label.clone(), vec![Primitive::path(run, pen)]),
        }
    }
    if series.has_few() {
        let all: Vec<Point> = placed.iter().copied().flatten().collect();
        // Lines that lie on each other have their markers apart.
        let shift = style.shape as usize;
        let count = if all.len() > FEW { FEW } else { 0 };
        for mark in 0..count {
            let at = ((mark * 8 + shift) * (all.len() - 1)) / (FEW * 8);
            drawing.add(Kind::Mark, label.clone(), vec![Primitive::marker(all[at], *style, 3.6)]);
        }
    }
    if !has_markers && points.len() <= MOST_TARGETS {
        for (point, at) in points.iter().zip(&placed).filter(|(point, _)| !point.hover.is_empty()) {
            if let Some(centre) = *at {
                let disc = Primitive::Circle { centre, radius: 6.0, fill: None, pen: None };
                drawing.add(Kind::Target, point.hover.clone(), vec![disc]);
            }
        }
    }
}

/// Draws each point with its intervals.
fn draw_markers(drawing: &mut Drawing, series: &Series, place: &impl Fn(f64, f64) -> Option<Point>) {
    let pen = Pen::solid(series.style.ink, 1.2);
    for Datum { x, y, x_interval, y_interval, hover } in &series.points {
        let Some(centre) = place(*x, *y) else { continue };
        let mut primitives = Vec::new();
        let across = x_interval.and_then(|(low, high)| place(low, *y).zip(place(high, *y)));
        let upward = y_interval.and_then(|(low, high)| place(*x, low).zip(place(*x, high)));
        for (is_upward, ends) in [(false, across), (true, upward)] {
            let Some((from, to)) = ends else { continue };
            primitives.push(Primitive::line(from, to, pen));
            let cap = |(x, y): Point| {
                let (dx, dy) = if is_upward { (3.0, 0.0) } else { (0.0, 3.0) };
                Primitive::line((x - dx, y - dy), (x + dx, y + dy), pen)
            };
            primitives.extend([cap(from), cap(to)]);
        }
        primitives.push(Primitive::marker(centre, series.style, RADIUS));
        drawing.add(Kind::Mark, hover.clone(), primitives);
    }
}
