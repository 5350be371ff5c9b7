//! The report in Markdown: tables and provenance.

use std::fmt::Write;

use super::load::Report;
use super::numbers::COLUMNS;
use super::tables::Table;

impl Report {
    /// Renders the document.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("# {}\n", escape(&self.experiment.title));
        if let Some(description) = &self.experiment.description {
            text.extend(["\n", &escape(description), "\n"]);
        }
        if !self.left_out.is_empty() {
            text.push_str("\n## Left out\n\n");
            for left_out in &self.left_out {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "- {}", escape(&left_out.to_string()));
            }
        }
        for table in self.tables() {
            text.push_str(&table.markdown());
        }
        text.push_str("\n## Definitions\n\n");
        for column in &COLUMNS {
            let _ = writeln!(text, "- {}: {}", escape(column.heading), escape(column.meaning));
        }
        text.push_str("\n## Provenance\n\n");
        for fact in self.provenance() {
            let _ = writeln!(text, "- {}: {}", escape(&fact.what), escape(&fact.value));
        }
        text
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n", escape(&self.title));
        let headings = self.names.iter().chain(&self.figures).map(|heading| escape(heading));
        text.push_str(&line(headings));
        text.extend(["|", &"---|".repeat(self.names.len()), &"---:|".repeat(self.figures.len()), "\n"]);
        for row in &self.rows {
            text.push_str(&line(row.names.iter().chain(&row.figures).map(|cell| escape(cell))));
        }
        text.extend(["\n", &escape(&self.note), "\n"]);
        text
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Escapes text for Markdown and for HTML inside it.
fn escape(text: &str) -> String {
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
