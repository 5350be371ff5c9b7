//! The layout of the JSON files: indented, with each array of floating-point numbers on one line. A mean vector has
//! thousands of elements.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `value` as indented JSON without a final newline.
pub(crate) fn to_pretty_json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Layout::default()))?;
    Ok(bytes)
}

/// `serde_json`'s pretty formatter, with the line break before an array element delayed until the element's type is
/// known.
#[derive(Default)]
struct Layout {
    pretty: PrettyFormatter<'static>,
    /// Set when an array element is due; true for the first element.
    due: Option<bool>,
    /// Whether the last element was a number on the current line.
    in_line: bool,
}

impl Layout {
    fn break_line<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.due.take() {
            Some(first) => self.pretty.begin_array_value(writer, first),
            None => Ok(()),
        }
    }
}

impl Formatter for Layout {
    fn write_bool<W: Write + ?Sized>(&mut self, writer: &mut W, value: bool) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.write_bool(writer, value)
    }

    fn write_i64<W: Write + ?Sized>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.write_i64(writer, value)
    }

    fn write_u32<W: Write + ?Sized>(&mut self, writer: &mut W, value: u32) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.write_u32(writer, value)
    }

    fn write_u64<W: Write + ?Sized>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.write_u64(writer, value)
    }

    fn write_null<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.write_null(writer)
    }

    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        match self.due.take() {
            Some(true) => self.in_line = true,
            Some(false) => writer.write_all(b", ")?,
            None => {}
        }
        self.pretty.write_f64(writer, value)
    }

    fn begin_string<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.begin_string(writer)
    }

    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.begin_array(writer)
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        if std::mem::take(&mut self.in_line) {
            // Reduces the indentation by one level. The line break is discarded.
            self.pretty.end_array(&mut io::sink())?;
            return writer.write_all(b"]");
        }
        self.pretty.end_array(writer)
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, _writer: &mut W, first: bool) -> io::Result<()> {
        self.due = Some(first);
        Ok(())
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.break_line(writer)?;
        self.pretty.begin_object(writer)
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arrays_of_floats_stay_on_one_line() {
        let value = serde_json::json!({
            "a": [1.5, 2.0], "b": [1, 2], "c": ["x"], "d": [{"e": [0.5], "f": []}], "g": [[1.0], [2.0]], "h": null,
        });
        let text = String::from_utf8(to_pretty_json(&value).unwrap()).unwrap();
        let expected = concat!(
            "{\n  \"a\": [1.5, 2.0],\n  \"b\": [\n    1,\n    2\n  ],\n  \"c\": [\n    \"x\"\n  ],\n",
            "  \"d\": [\n    {\n      \"e\": [0.5],\n      \"f\": []\n    }\n  ],\n",
            "  \"g\": [\n    [1.0],\n    [2.0]\n  ],\n  \"h\": null\n}",
        );
        assert_eq!(text, expected);
    }
}
