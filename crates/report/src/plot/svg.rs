//! A drawing as SVG.

use std::fmt::Write;

use super::drawing::{Anchor, Drawing, Element, Kind, Pen, Point, Primitive};
use super::style::{Ink, Palette};

/// Close to the font of the PDF; a page has its own.
const FONTS: &str = "Arimo, 'Liberation Sans', Helvetica, Arial, sans-serif";

impl Drawing {
    /// Renders scalable SVG that a screen reader treats as one image. With [`Palette::Plain`] it is a file by itself:
    /// plain colours on white, and a size in points.
    pub(crate) fn svg(&self, palette: Palette) -> String {
        let Self { caption, width, height, elements } = self;
        let id = &caption.id;
        let size = match palette {
            Palette::Page => r#" class="plot""#.to_owned(),
            Palette::Plain => format!(r#" width="{}pt" height="{}pt""#, 0.75 * width, 0.75 * height),
        };
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg"{size} viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-title {id}-desc" font-family="{FONTS}"><title id="{id}-title">{}</title><desc id="{id}-desc">{}</desc>"#,
            escape(&caption.title),
            escape(&caption.description),
        );
        if palette == Palette::Plain {
            let (width, height) = (number(*width), number(*height));
            let _ = write!(svg, r#"<rect width="{width}" height="{height}" fill="{}"/>"#, Ink::Surface.css(palette));
        }
        for element in elements {
            write_element(&mut svg, element, palette);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn write_element(svg: &mut String, element: &Element, palette: Palette) {
    let class = match element.kind {
        Kind::Frame => "",
        Kind::Area => r#" class="area""#,
        Kind::Mark => r#" class="mark""#,
        // A file has nothing that cannot be seen.
        Kind::Target if palette == Palette::Plain => return,
        Kind::Target => r#" class="target""#,
    };
    let is_group = !element.hover.is_empty() || !class.is_empty();
    if is_group {
        svg.extend(["<g", class, ">"]);
    }
    if !element.hover.is_empty() {
        svg.extend(["<title>", &escape(&element.hover), "</title>"]);
    }
    for primitive in &element.primitives {
        write_primitive(svg, primitive, palette);
    }
    if is_group {
        svg.push_str("</g>");
    }
}

/// Writing to a string cannot fail.
fn write_primitive(svg: &mut String, primitive: &Primitive, palette: Palette) {
    match primitive {
        Primitive::Path { points, is_closed, fill, pen } => {
            let look = look(*fill, *pen, palette);
            let _ = write!(svg, r#"<path d="{}"{look}/>"#, path(points, *is_closed));
        }
        Primitive::Circle { centre: (x, y), radius, fill, pen } => {
            let (x, y, radius) = (number(*x), number(*y), number(*radius));
            let look = look(*fill, *pen, palette);
            let _ = write!(svg, r#"<circle cx="{x}" cy="{y}" r="{radius}"{look}/>"#);
        }
        Primitive::Text { at: (x, y), content, size, anchor, ink, is_turned } => {
            let (x, y) = (number(*x), number(*y));
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => r#" text-anchor="middle""#,
                Anchor::End => r#" text-anchor="end""#,
            };
            let turn = if *is_turned { format!(r#" transform="rotate(-90 {x} {y})""#) } else { String::new() };
            let (colour, content) = (ink.css(palette), escape(content));
            let _ = write!(
                svg,
                r#"<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{anchor}{turn}>{content}</text>"#
            );
        }
    }
}

fn path(points: &[Point], is_closed: bool) -> String {
    let mut text = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        let _ = write!(text, "{}{} {}", if place == 0 { "M" } else { "L" }, number(*x), number(*y));
    }
    if is_closed {
        text.push('Z');
    }
    text
}

fn look(fill: Option<Ink>, pen: Option<Pen>, palette: Palette) -> String {
    let mut text = match (fill, pen) {
        (Some(ink), _) => format!(r#" fill="{}""#, ink.css(palette)),
        (None, Some(_)) => r#" fill="none""#.to_owned(),
        (None, None) => r#" fill="none" pointer-events="all""#.to_owned(),
    };
    if let Some(Pen { ink, width, dashes }) = pen {
        let _ = write!(text, r#" stroke="{}" stroke-width="{width}""#, ink.css(palette));
        if !dashes.is_empty() {
            let dashes: Vec<String> = dashes.iter().map(ToString::to_string).collect();
            let _ = write!(text, r#" stroke-dasharray="{}""#, dashes.join(" "));
        } else if fill.is_none() {
            text.push_str(r#" stroke-linejoin="round""#);
        }
    }
    text
}

/// A coordinate, in hundredths.
pub(super) fn number(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    // Minus zero is zero.
    format!("{}", rounded + 0.0)
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
            '\n' => escaped.push('\n'),
            // XML 1.0 allows no other control characters.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_label_is_no_markup() {
        assert_eq!(escape("<b a=\"1\">&\u{1}"), "&lt;b a=&quot;1&quot;&gt;&amp; ");
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([1.0, 2.345_6, -0.001].map(number), ["1", "2.35", "0"]);
    }
}
