//! A table in LaTeX, with booktabs.

use crate::tables::table::Table;

impl Table {
    /// Renders a `table` environment that requires only `\usepackage{booktabs}`.
    pub(crate) fn latex(&self) -> String {
        let columns = "l".repeat(self.names.len()) + &"r".repeat(self.figures.len());
        let headings = self.headings().map(escape);
        let rows = self.rows.iter().map(|row| {
            let cells = row.names.iter().map(|name| escape(name)).chain(row.figures.iter().map(|cell| {
                let text = number(&cell.text);
                if cell.is_bold && self.is_bold_in_latex { format!("\\textbf{{{text}}}") } else { text }
            }));
            line(cells)
        });
        format!(
            "% \\usepackage{{booktabs}}\n\\begin{{table}}\n  \\centering\n  \\caption{{{}. {}}}\n  \\label{{tab:{}}}\n  \\begin{{tabular}}{{{columns}}}\n    \\toprule\n{}    \\midrule\n{}    \\bottomrule\n  \\end{{tabular}}\n\\end{{table}}\n",
            escape(&self.title),
            escape(&self.note),
            self.id,
            line(headings),
            rows.collect::<String>(),
        )
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("    {} \\\\\n", cells.collect::<Vec<_>>().join(" & "))
}

/// Typesets minus signs of numbers and of intervals; LaTeX would set `-` as a hyphen.
fn number(cell: &str) -> String {
    let text = cell.strip_prefix('-').map_or_else(|| escape(cell), |digits| format!("$-${}", escape(digits)));
    text.replace("[-", "[$-$").replace(", -", ", $-$")
}

/// Escapes text for LaTeX.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '–' => escaped.push_str("--"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', character]),
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
    fn what_latex_would_read_as_a_command_is_text() {
        assert_eq!(
            escape(r"a_b & 5% \input{x} $y$ ~^#"),
            r"a\_b \& 5\% \textbackslash{}input\{x\} \$y\$ \textasciitilde{}\textasciicircum{}\#"
        );
        assert_eq!(escape("a\nb"), "a b");
    }

    #[test]
    fn minus_signs_are_minus_signs_and_dashes_are_dashes() {
        assert_eq!((number("-2662.00"), number("–"), number("1.5")), ("$-$2662.00".into(), "--".into(), "1.5".into()));
    }
}
