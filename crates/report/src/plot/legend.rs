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

/// The width of a key with its gap.
const KEY: f64 = 40.0;

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
    let (mut x, mut y) = (left, top);
    for (label, style, key) in entries {
        let label = font::shorten(label, SIZE, right - left - KEY);
        // Other fonts are a little wider.
        let length = KEY + 1.08 * font::width(&label, SIZE);
        if x > left && x + length > right {
            (x, y) = (left, y + ROW);
        }
        let middle = y + ROW / 2.0;
        if matches!(key, Key::Line | Key::LineAndMarker) {
            let pen = Pen { ink: style.ink, width: 2.2, dashes: style.stroke.dashes() };
            drawing.frame(Primitive::line((x, middle), (x + KEY - 8.0, middle), pen));
        }
        if matches!(key, Key::Marker | Key::LineAndMarker) {
            drawing.frame(Primitive::marker((x + (KEY - 8.0) / 2.0, middle), *style, RADIUS));
        }
        if *key == Key::Bar {
            for primitive in super::bars::bar((x, middle - 6.0), (x + KEY - 8.0, middle + 6.0), *style) {
                drawing.frame(primitive);
            }
        }
        drawing.frame(Primitive::text((x + KEY, middle + 0.35 * SIZE), &label, Anchor::Start, Ink::Text));
        x += length + GAP;
    }
    if entries.is_empty() { 0.0 } else { y + ROW - top }
}
