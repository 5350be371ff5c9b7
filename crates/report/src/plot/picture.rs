//! Rendering of a scene to accessible SVG.

use std::sync::Arc;

use kuva::prelude::{Layout, LegendPosition, Plot, SvgBackend, TickFormat};
use kuva::render::render::{Primitive, Scene, TextAnchor, render_multiple};

use super::style::theme;

/// Title and description of a plot, for screen readers.
#[derive(Debug, Clone)]
pub(crate) struct Caption {
    /// Unique on the page; letters, digits and hyphens.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
}

/// Width in SVG units; a page scales the plot.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 360.0;

/// The common layout of all plots.
pub(super) fn layout(plots: &[Plot], x_label: &str, y_label: &str) -> Layout {
    Layout::auto_from_plots(plots)
        .with_theme(theme())
        .with_width(WIDTH)
        .with_height(HEIGHT)
        .with_legend_position(LegendPosition::OutsideBottomColumns)
        .with_legend_box(false)
        .with_tick_format(TickFormat::Custom(Arc::new(tick)))
        .with_x_label(plain(x_label))
        .with_y_label(plain(y_label))
        .with_tick_size(13)
        .with_label_size(14)
        .with_body_size(13)
}

pub(super) fn draw(caption: &Caption, plots: Vec<Plot>, layout: Layout, definitions: Vec<String>) -> String {
    finish(caption, render_multiple(plots, layout), definitions)
}

/// Writes a scene as scalable SVG that a screen reader treats as one image.
pub(super) fn finish(caption: &Caption, mut scene: Scene, definitions: Vec<String>) -> String {
    scene.defs.extend(definitions);
    // kuva only estimates the room for the legend and the last tick; nothing may be cut off.
    let (width, height) = extent(&scene);
    let drawn = SvgBackend::new().render_scene(&scene);
    // Replace kuva's opening tag, which has a fixed size and no role.
    let (opening, rest) = drawn.split_once('>').unwrap_or(("", &drawn));
    let font = attribute(opening, "font-family");
    let fill = attribute(opening, "fill");
    let Caption { id, title, description } = caption;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-title {id}-desc"{font}{fill}><title id="{id}-title">{}</title><desc id="{id}-desc">{}</desc>{rest}"#,
        escape(title),
        escape(description),
    )
}

/// The size of a scene, text included.
fn extent(scene: &Scene) -> (f64, f64) {
    /// Widths of letters and depths of descenders, relative to the font size.
    const LETTER: f64 = 0.62;
    const DESCENDER: f64 = 0.5;
    let (mut width, mut height) = (scene.width, scene.height);
    for element in &scene.elements {
        if let Primitive::Text { x, y, content, size, anchor, rotate: None, .. } = element {
            let size = f64::from(*size);
            let length = LETTER * size * content.chars().count() as f64;
            let right = match anchor {
                TextAnchor::Start => length,
                TextAnchor::Middle => length / 2.0,
                TextAnchor::End => 0.0,
            };
            width = width.max(x + right);
            height = height.max(y + DESCENDER * size);
        }
    }
    (width.ceil(), height.ceil())
}

/// Formats a tick: three significant digits, with a suffix from ten thousand on.
fn tick(value: f64) -> String {
    let size = value.abs();
    let (scaled, letter) = match size {
        0.0 => return "0".to_owned(),
        _ if size < 1e-4 => return format!("{value:e}"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = (2.0 - scaled.abs().log10().floor()).max(0.0) as usize;
    let digits = format!("{scaled:.decimals$}");
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{letter}")
}

/// Returns ` name="value"` from a tag, verbatim.
fn attribute(tag: &str, name: &str) -> String {
    let start = format!(" {name}=\"");
    let value = tag.split_once(&start).and_then(|(_, after)| after.split_once('"'));
    value.map_or_else(String::new, |(value, _)| format!("{start}{value}\""))
}

/// Escapes text for XML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 allows no other control characters.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Escapes a label for kuva, which reads text between dollar signs as mathematics, and for XML, which has no control
/// characters.
pub(super) fn plain(label: &str) -> String {
    label
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect::<String>()
        .replace('$', "\\$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let ticks = [0.0, 0.02, 0.1, -2.5, 100.0, 1000.0, 10_000.0, 2_500_000.0, 1e-5].map(tick);
        assert_eq!(ticks, ["0", "0.02", "0.1", "-2.5", "100", "1000", "10k", "2.5M", "1e-5"]);
    }

    #[test]
    fn what_stands_in_a_label_is_neither_markup_nor_mathematics() {
        assert_eq!(escape("<b a=\"1\">&\u{1}"), "&lt;b a=&quot;1&quot;&gt;&amp; ");
        assert_eq!(plain("$x$\n"), "\\$x\\$ ");
    }
}
