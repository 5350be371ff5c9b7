//! From a scene to an accessible SVG.

use kuva::prelude::{Layout, Plot, SvgBackend};
use kuva::render::render::{Scene, render_multiple};

use super::style::theme;

/// What a picture is called and what it shows, for those who do not see it.
#[derive(Debug, Clone)]
pub(crate) struct Caption {
    /// Letters, digits and hyphens; no other picture of the page has it.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
}

/// Width of a picture in its own units; a page scales it.
pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 380.0;

/// A layout in the house style.
pub(super) fn layout(plots: &[Plot], x_label: &str, y_label: &str) -> Layout {
    Layout::auto_from_plots(plots)
        .with_theme(theme())
        .with_width(WIDTH)
        .with_height(HEIGHT)
        .with_x_label(plain(x_label))
        .with_y_label(plain(y_label))
        .with_tick_size(12)
        .with_label_size(13)
        .with_body_size(12)
}

/// Draws plots.
pub(super) fn draw(caption: &Caption, plots: Vec<Plot>, layout: Layout, definitions: Vec<String>) -> String {
    finish(caption, render_multiple(plots, layout), definitions)
}

/// Writes a scene as SVG that scales, and that a screen reader reads as one picture.
pub(super) fn finish(caption: &Caption, mut scene: Scene, definitions: Vec<String>) -> String {
    scene.defs.extend(definitions);
    let (width, height) = (scene.width, scene.height);
    let drawn = SvgBackend::new().render_scene(&scene);
    // The opening tag is written anew: kuva's has a fixed size and no role.
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

/// ` name="value"` out of a tag, as it stands there.
fn attribute(tag: &str, name: &str) -> String {
    let start = format!(" {name}=\"");
    let value = tag.split_once(&start).and_then(|(_, after)| after.split_once('"'));
    value.map_or_else(String::new, |(value, _)| format!("{start}{value}\""))
}

/// Text for XML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 has no other control characters.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A label as kuva takes it: it would read text between dollars as mathematics, and XML has no control characters.
pub(super) fn plain(label: &str) -> String {
    label
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect::<String>()
        .replace('$', "\\$")
}
