//! Grouped horizontal bars.

use std::fmt::Write;

use super::axis::{Axis, Scale};
use super::drawing::{Anchor, Caption, Drawing, Kind, Pen, Point, Primitive, SIZE};
use super::font;
use super::legend::{self, Key};
use super::style::{Ink, Shape, Style};

/// A group of bars.
#[derive(Debug, Clone)]
pub(crate) struct BarGroup {
    pub(crate) label: String,
    /// One bar per series; an undefined value has none.
    pub(crate) bars: Vec<Option<Bar>>,
}

/// A bar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) value: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

/// What the bars mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BarScale<'label> {
    pub(crate) label: &'label str,
    /// Marked by a line.
    pub(crate) level: f64,
}

const WIDTH: f64 = 600.0;
const LEFT: f64 = 12.0;
const RIGHT: f64 = WIDTH - 16.0;

/// The room for the numbers at the right.
const NUMBER: f64 = 62.0;

/// The height of a bar with its gap, and of a group's label.
const BAR: f64 = 19.0;
const LABEL: f64 = 24.0;

/// Draws groups from top to bottom, and in each the bars in the order of the series, which is the legend's; `None` if
/// there are no bars.
pub(crate) fn bars(
    caption: Caption,
    scale: BarScale<'_>,
    series: &[(String, Style)],
    groups: &[BarGroup],
) -> Option<Drawing> {
    let all = || groups.iter().flat_map(|group| group.bars.iter().flatten()).filter(|bar| bar.value.is_finite());
    let ends = all().flat_map(|bar| {
        [bar.value, bar.interval.map_or(bar.value, |own| own.0), bar.interval.map_or(bar.value, |own| own.1)]
    });
    all().next()?;
    let negative = all().any(|bar| bar.value < 0.0 || bar.interval.is_some_and(|own| own.0 < 0.0));
    let span = (LEFT, RIGHT - NUMBER);
    let axis = Axis::fit(Scale::Linear, ends.chain([0.0, scale.level]), span)?;
    let axis = if negative { axis } else { axis.from(0.0) };
    let top = 14.0;
    let is_drawn = |bar: &&Option<Bar>| bar.is_some_and(|own| own.value.is_finite());
    let rows = groups.iter().map(|group| LABEL + BAR * group.bars.iter().filter(is_drawn).count() as f64).sum::<f64>();
    let bottom = top + rows + 8.0;
    let mut drawing = Drawing::new(caption, WIDTH, bottom);
    let place = |value: f64| axis.place(value).unwrap_or(span.0);
    for (value, label) in axis.ticks() {
        let x = place(value);
        drawing.frame(Primitive::line((x, top), (x, bottom), Pen::solid(Ink::Grid, 1.0)));
        // At the left end a label has less room than its half.
        let middle = x.max(0.54 * font::width(&label, SIZE) + 2.0);
        drawing.frame(Primitive::text((middle, bottom + 18.0), &label, Anchor::Middle, Ink::Text));
    }
    let level = Pen { ink: Ink::Limit, width: 1.5, dashes: &[6.0, 4.0] };
    drawing.frame(Primitive::line((place(scale.level), top), (place(scale.level), bottom), level));
    drawing.frame(Primitive::line((place(0.0), top), (place(0.0), bottom), Pen::solid(Ink::Axis, 1.5)));
    let area = Primitive::rectangle((LEFT, top), (span.1, bottom), None, Some(Pen::solid(Ink::Grid, 1.0)));
    drawing.add(Kind::Area, String::new(), vec![area]);
    let mut y = top;
    for group in groups {
        let label = font::shorten(&group.label, SIZE, RIGHT - LEFT - 12.0);
        // No line runs through a label.
        let end = LEFT + 10.0 + 1.08 * font::width(&label, SIZE);
        drawing.frame(Primitive::rectangle((LEFT + 2.0, y + 4.0), (end, y + 22.0), Some(Ink::Surface), None));
        drawing.frame(Primitive::text((LEFT + 6.0, y + 17.0), &label, Anchor::Start, Ink::Text));
        y += LABEL;
        for ((name, style), bar) in series.iter().zip(&group.bars) {
            if let Some(own) = bar.filter(|own| own.value.is_finite()) {
                draw_bar(&mut drawing, &place, y, (&group.label, name, *style), own);
                y += BAR;
            }
        }
    }
    drawing.frame(Primitive::text(
        (f64::midpoint(LEFT, span.1), bottom + 38.0),
        scale.label,
        Anchor::Middle,
        Ink::Text,
    ));
    let entries: Vec<_> = series.iter().map(|(label, style)| (label.clone(), *style, Key::Bar)).collect();
    let height = legend::draw(&mut drawing, (LEFT, bottom + 50.0, RIGHT), &entries);
    drawing.height = bottom + 50.0 + height + 8.0;
    Some(drawing)
}

/// One bar with its interval and its number.
fn draw_bar(
    drawing: &mut Drawing,
    place: &impl Fn(f64) -> f64,
    y: f64,
    (group, series, style): (&str, &str, Style),
    Bar { value, interval }: Bar,
) {
    let (start, end, middle) = (place(0.0), place(value), y + BAR / 2.0 - 1.0);
    let mut primitives = bar((start.min(end), y), (start.max(end), y + BAR - 3.0), style);
    let mut hover = format!("{group}\n{series}: {value:.2}");
    if let Some((low, high)) = interval {
        let (from, to) = (place(low), place(high));
        let pen = Pen::solid(Ink::Text, 1.4);
        primitives.push(Primitive::line((from, middle), (to, middle), pen));
        primitives.extend([from, to].map(|x| Primitive::line((x, middle - 4.0), (x, middle + 4.0), pen)));
        // Writing to a string cannot fail.
        let _ = write!(hover, " ({low:.2} to {high:.2})");
    }
    drawing.add(Kind::Mark, hover, primitives);
    let number = format!("{value:.2}").replace('-', "−");
    drawing.frame(Primitive::text((RIGHT - 6.0, middle + 0.35 * SIZE), &number, Anchor::End, Ink::Text));
}

/// A bar with the hatch of its shape, so that it is not told by its colour alone. A hollow one is an outline.
pub(super) fn bar((left, top): Point, (right, bottom): Point, style: Style) -> Vec<Primitive> {
    let fill = if style.is_hollow { Ink::Surface } else { style.ink };
    let hatch = Pen::solid(if style.is_hollow { style.ink } else { Ink::Surface }, 1.3);
    let outline = Some(Pen::solid(style.ink, 1.0));
    let mut primitives = vec![Primitive::rectangle((left, top), (right, bottom), Some(fill), outline)];
    let height = bottom - top;
    // Lines of a slope, at distances, cut at the rectangle.
    let mut lines = |slope: f64, distance: f64| {
        let run = slope.abs() * height;
        let mut x = left - run + distance / 2.0;
        while x < right {
            let (mut from, mut to) = ((x, bottom), (x + run, top));
            if from.0 < left {
                from = (left, bottom - (left - x) / run * height);
            }
            if to.0 > right {
                to = (right, bottom - (right - x) / run * height);
            }
            if slope < 0.0 {
                (from.1, to.1) = (top + bottom - from.1, top + bottom - to.1);
            }
            if run > 0.0 || x > left {
                primitives.push(Primitive::line(from, to, hatch));
            }
            x += distance;
        }
    };
    match style.shape {
        Shape::Circle => {}
        Shape::Square => lines(1.0, 8.0),
        Shape::Triangle => lines(0.0, 6.0),
        Shape::Diamond => {
            lines(1.0, 11.0);
            lines(-1.0, 11.0);
        }
        Shape::TriangleDown => lines(-1.0, 8.0),
        Shape::Pentagon => {
            let middle = f64::midpoint(top, bottom);
            primitives.push(Primitive::line((left, middle), (right, middle), hatch));
        }
    }
    primitives
}
