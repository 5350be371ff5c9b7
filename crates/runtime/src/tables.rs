//! Tables of text that fit a width.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// The cell of an undefined value.
pub const UNDEFINED: &str = "–";

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// Rules under the headings and under the rows; none between rows.
const CONTINUED: TableStyle = TableStyle::new().header_separator(RULE).bottom_border(RULE);

/// The same with a rule above.
const RULED: TableStyle = CONTINUED.top_border(RULE);

/// What a column takes besides its content.
const GAP: usize = 2;

/// Width below which no name is wrapped.
const LEAST_NAME: usize = 12;

/// A table of text: columns of names on the left, columns of figures on the right.
#[derive(Debug, Clone)]
pub struct TextTable {
    /// A heading for each column, of one or more lines. Without any the table has no line of headings.
    pub headings: Vec<String>,
    /// Number of columns of names, which are left-aligned and begin every part of a table that is split.
    pub names: usize,
    /// A cell for each column, of one or more lines.
    pub rows: Vec<Vec<String>>,
    /// Whether rules are drawn above and below the headings and the rows.
    pub is_ruled: bool,
}

impl TextTable {
    /// Renders the table, at most `width` columns wide if names leave room for each figure.
    ///
    /// Columns of figures that are undefined in every row are left out. Long names are wrapped. Figures that do not fit
    /// beside each other go into further tables below, with the same names; all are of about the same number of columns.
    pub fn fit(&self, width: usize) -> String {
        let is_shown = |column: &usize| {
            *column < self.names || self.rows.is_empty() || self.rows.iter().any(|row| row[*column] != UNDEFINED)
        };
        let columns = self.headings.len().max(self.rows.first().map_or(0, Vec::len));
        let shown: Vec<usize> = (0..columns).filter(is_shown).collect();
        let (names, figures) = shown.split_at(self.names);
        let rows = self.wrapped(figures, width);
        let widths = widths(&self.headings, &rows);
        let taken: usize = names.iter().map(|&name| widths[name] + GAP).sum();
        // The first column has no separator before it.
        let room = (width + 1).saturating_sub(taken);
        let parts = split(figures, |&figure| widths[figure] + GAP, room);
        let parts = parts.iter().enumerate().map(|(place, part)| {
            let style = match (self.is_ruled, place) {
                (false, _) => TableStyle::new(),
                (true, 0) => RULED,
                // The rule under the part before is above it.
                (true, _) => CONTINUED,
            };
            self.render(style, &[names, part].concat(), &rows)
        });
        parts.collect::<Vec<_>>().join("\n")
    }

    /// The rows with names wrapped such that the widest figure fits beside them.
    fn wrapped(&self, figures: &[usize], width: usize) -> Vec<Vec<String>> {
        let mut rows = self.rows.clone();
        let widths = widths(&self.headings, &rows);
        let widest = figures.iter().map(|&figure| widths[figure] + GAP).max().unwrap_or(0);
        // A table with figures leaves them at least half of the width.
        let room = (width + 1).saturating_sub(if figures.is_empty() { 0 } else { widest.max(width / 2) });
        let taken: usize = widths[..self.names].iter().map(|own| own + GAP).sum();
        let Some((longest, &own)) = widths[..self.names].iter().enumerate().max_by_key(|(_, own)| **own) else {
            return rows;
        };
        let least = (own + room).saturating_sub(taken).max(LEAST_NAME);
        for row in &mut rows {
            row[longest] = wrap(&row[longest], least);
        }
        rows
    }

    fn render(&self, style: TableStyle, columns: &[usize], rows: &[Vec<String>]) -> String {
        let of = |cells: &[String]| columns.iter().map(|&column| cells[column].clone()).collect::<Vec<_>>();
        let mut table = Table::new();
        table.load_style(style);
        if !self.headings.is_empty() {
            table.set_header(of(&self.headings));
        }
        for row in rows {
            table.add_row(of(row));
        }
        for (place, column) in table.column_iter_mut().enumerate() {
            // A rule brings a blank between columns.
            column.set_padding(if self.is_ruled { (1, 0) } else { (1, 1) });
            if place >= self.names {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

/// The widest line of each column.
fn widths(headings: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let mut table = Table::new();
    if !headings.is_empty() {
        table.set_header(headings);
    }
    table.add_rows(rows);
    table.column_max_content_widths().into_iter().map(usize::from).collect()
}

/// Splits items into as few runs as hold them, of about the same number of items, each at most `room` wide. An item
/// that is wider is a run by itself.
fn split<T>(items: &[T], width: impl Fn(&T) -> usize, room: usize) -> Vec<&[T]> {
    let runs = |most: usize| {
        let mut ends = vec![0];
        let (mut taken, mut count) = (0, 0);
        for (place, item) in items.iter().enumerate() {
            if count > 0 && (taken + width(item) > room || count == most) {
                ends.push(place);
                (taken, count) = (0, 0);
            }
            (taken, count) = (taken + width(item), count + 1);
        }
        ends.push(items.len());
        ends
    };
    let fewest = runs(items.len()).len();
    let even = items.len().div_ceil(fewest - 1);
    let ends = (even..=items.len()).map(runs).find(|ends| ends.len() == fewest).unwrap_or_else(|| vec![0, items.len()]);
    ends.windows(2).map(|ends| &items[ends[0]..ends[1]]).collect()
}

/// Breaks each line of a text after blanks, slashes and double underscores where possible, into lines of at most
/// `width` characters. No character but blanks at breaks is lost.
fn wrap(text: &str, width: usize) -> String {
    text.lines().map(|line| wrap_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, width: usize) -> String {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let is_break = |&end: &usize| match (rest[end - 1], rest[end]) {
            (' ' | '/', _) => true,
            ('_', next) => next != '_' && end > 1 && rest[end - 2] == '_',
            _ => false,
        };
        let end = (1..=width).rev().find(is_break).unwrap_or(width);
        let tail = rest.split_off(end);
        lines.push(rest.into_iter().collect::<String>().trim_end().to_owned());
        rest = tail;
    }
    lines.push(rest.into_iter().collect());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], figures: usize) -> TextTable {
        let headings = (0..figures).map(|figure| format!("Figure\nF{figure}"));
        let row = |name: &str, section: &str| {
            let cells = (0..figures).map(|figure| format!("{figure}.123"));
            [name.to_owned(), section.to_owned()].into_iter().chain(cells).collect()
        };
        TextTable {
            headings: ["SAE", "Section"].map(str::to_owned).into_iter().chain(headings).collect(),
            names: 2,
            rows: names.iter().flat_map(|name| [row(name, "user_prompt"), row(name, "rollout")]).collect(),
            is_ruled: true,
        }
    }

    #[test]
    fn a_wide_table_is_split_and_keeps_every_column_and_name() {
        for names in [["base", "chat"], ["layer_20__width_16k__average_l0_71", "layer_20__width_65k__average_l0_71"]] {
            for width in [80, 100, 200] {
                let text = table(&names, 12).fit(width);
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}\n{text}");
                let count = |wanted: &str| text.split_whitespace().filter(|word| *word == wanted).count();
                for figure in 0..12 {
                    assert_eq!(count(&format!("F{figure}")), 1, "{text}");
                    assert_eq!(count(&format!("{figure}.123")), 4, "{text}");
                }
                let parts = names.iter().flat_map(|name| name.split("__"));
                assert!(parts.into_iter().all(|part| text.contains(part)), "{text}");
            }
        }
    }

    #[test]
    fn figures_that_are_undefined_everywhere_are_left_out() {
        let mut table = table(&["base"], 3);
        table.rows[0][3] = UNDEFINED.to_owned();
        let text = table.fit(80);
        assert!(text.contains(UNDEFINED) && text.contains("F1"), "{text}");
        table.rows[1][3] = UNDEFINED.to_owned();
        let text = table.fit(80);
        assert!(!text.contains(UNDEFINED) && !text.contains("F1") && text.contains("F2"), "{text}");
    }

    #[test]
    fn runs_are_few_and_even() {
        let lengths =
            |widths: &[usize], room| split(widths, |width| *width, room).iter().map(|run| run.len()).collect();
        let check = |widths: &[usize], room, expected: &[usize]| {
            let lengths: Vec<usize> = lengths(widths, room);
            assert_eq!(lengths, expected);
        };
        check(&[8; 9], 80, &[9]);
        check(&[8; 9], 64, &[5, 4]);
        check(&[8; 9], 24, &[3, 3, 3]);
        check(&[30, 8, 8, 8], 24, &[1, 3]);
        check(&[8], 2, &[1]);
        check(&[], 2, &[0]);
    }

    #[test]
    fn names_are_broken_where_they_are_joined() {
        assert_eq!(wrap("layer_20__width_16k__average_l0_71", 24), "layer_20__width_16k__\naverage_l0_71");
        assert_eq!(wrap("model base, sae chat", 12), "model base,\nsae chat");
        assert_eq!(wrap("abcdefghij", 4), "abcd\nefgh\nij");
        assert_eq!(wrap("abc", 4), "abc");
    }
}
