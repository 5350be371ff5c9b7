//! The legend under a picture.

use super::drawing::{Anchor, Drawing, Pen, Primitive, RADIUS, SIZE};
use super::font;
use super::style::{Ink, Style};

/// What stands before a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Line,
    Marker,
    LineAndMarker,
    Bar,
}

/// The width of a key with its gap: of a marker, and of a line or a bar.
const MARKER: f64 = 22.0;
const LINE: f64 = 40.0;

/// The height of a row.
pub(super) const ROW: f64 = 20.0;

/// The gap between entries.
const GAP: f64 = 18.0;

/// Draws entries in rows from the point `left`, `top` on, at most up to `right`, in their order. Returns the height.
pub(super) fn draw(
    drawing: &mut Drawing,
    (left, top, right): (f64, f64, f64),
    entries: &[(String, Style, Key)],
) -> f64 {
    let is_marker = |(_, _, key): &(String, Style, Key)| *key == Key::Marker;
    let room = if entries.iter().all(is_marker) { MARKER } else { LINE };
    let labels: Vec<String> =
        entries.iter().map(|(label, ..)| font::shorten(label, SIZE, right - left - room)).collect();
    // Other fonts are a little wider.
    let lengths = labels.iter().map(|label| room + 1.08 * font::width(label, SIZE) + GAP);
    let (longest, whole) = (lengths.clone().fold(0.0, f64::max), lengths.clone().sum::<f64>());
    // In columns, if one row does not hold all.
    let columns = ((right - left + GAP) / longest).floor().max(1.0) as usize;
    let mut after = left;
    for (place, ((_, style, key), (label, length))) in entries.iter().zip(labels.iter().zip(lengths)).enumerate() {
        let (x, y) = if whole <= right - left + GAP {
            (after, top)
        } else {
            (left + longest * (place % columns) as f64, top + ROW * (place / columns) as f64)
        };
        after += length;
        let middle = y + ROW / 2.0;
        if matches!(key, Key::Line | Key::LineAndMarker) {
            let pen = Pen { ink: style.ink, width: 2.2, dashes: style.stroke.dashes() };
            drawing.frame(Primitive::line((x, middle), (x + room - 8.0, middle), pen));
        }
        if matches!(key, Key::Marker | Key::LineAndMarker) {
            drawing.frame(Primitive::marker((x + (room - 8.0) / 2.0, middle), *style, RADIUS));
        }
        if *key == Key::Bar {
            for primitive in super::bars::bar((x, middle - 6.0), (x + room - 8.0, middle + 6.0), *style) {
                drawing.frame(primitive);
            }
        }
        drawing.frame(Primitive::text((x + room, middle + 0.35 * SIZE), label, Anchor::Start, Ink::Text));
    }
    let rows = if whole <= right - left + GAP { entries.len().min(1) } else { entries.len().div_ceil(columns) };
    ROW * rows as f64
}
