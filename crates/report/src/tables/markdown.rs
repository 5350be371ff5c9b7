//! A table in Markdown.

use crate::tables::table::Table;

impl Table {
    /// Renders a heading, the table and its note.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n", escape(&self.title));
        text.push_str(&line(self.headings().map(escape)));
        text.extend(["|", &"---|".repeat(self.names.len()), &"---:|".repeat(self.figures.len()), "\n"]);
        for row in &self.rows {
            text.push_str(&line(row.cells().map(|cell| escape(cell))));
        }
        text.extend(["\n", &escape(&self.note), "\n"]);
        text
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Escapes text for Markdown and for HTML inside it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => escaped.extend(['\\', character]),
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
    fn names_break_neither_out_of_their_cell_nor_into_html() {
        assert_eq!(escape("a|b\n<img src=x>`_*"), "a\\|b &lt;img src=x&gt;\\`\\_\\*");
    }
}
