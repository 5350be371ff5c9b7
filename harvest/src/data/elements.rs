//! Reads the objects of a JSON file one at a time, without holding the file in memory.

use std::io::{self, BufRead};

use super::LineProblem;

/// Splits an array, `[{…}, {…}]`, or a sequence of objects into its objects.
///
/// Only finds where objects end. The parser validates their content.
#[derive(Debug, Default)]
pub(super) struct Elements {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing read yet.
    #[default]
    Start,
    /// Objects separated by white space.
    Stream,
    /// The array is open: an object or its end is due.
    First,
    /// An object was read: a comma or the array's end is due.
    After,
    /// A comma was read: an object is due.
    Next,
    /// The array is closed.
    Closed,
}

impl Elements {
    /// Reads the next object into `element`. Returns `false` at the end of the file.
    pub(super) fn next(
        &mut self,
        reader: &mut impl BufRead,
        limit: usize,
        element: &mut Vec<u8>,
    ) -> io::Result<Result<bool, LineProblem>> {
        element.clear();
        loop {
            let Some(byte) = next_visible(reader)? else {
                return Ok(match self.state {
                    State::Start | State::Stream | State::Closed => Ok(false),
                    State::First | State::After | State::Next => Err(LineProblem::EndsEarly),
                });
            };
            self.state = match (self.state, byte) {
                (State::Start, b'[') => State::First,
                (State::First | State::After, b']') => State::Closed,
                (State::After, b',') => State::Next,
                (State::Start | State::Stream, b'{') => State::Stream,
                (State::First | State::Next, b'{') => State::After,
                (_, other) => {
                    let expected = self.state.expected();
                    return Ok(Err(LineProblem::Between {
                        expected,
                        got: char::from(other).escape_default().collect(),
                    }));
                }
            };
            if byte == b'{' {
                return object(reader, limit, element);
            }
            reader.consume(1);
        }
    }
}

impl State {
    fn expected(self) -> &'static str {
        match self {
            Self::Start => "an array or an object",
            Self::Stream | Self::Next => "an object",
            Self::First => "an object or the end of the array",
            Self::After => "a comma or the end of the array",
            Self::Closed => "the end of the file",
        }
    }
}

/// Returns the next byte that is not white space, without consuming it; `None` at the end of the file.
fn next_visible(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if let Some(byte) = bytes.get(blank).copied() {
            reader.consume(blank);
            return Ok(Some(byte));
        }
        reader.consume(blank);
    }
}

/// Reads an object from `{` to its closing `}`.
fn object(reader: &mut impl BufRead, limit: usize, element: &mut Vec<u8>) -> io::Result<Result<bool, LineProblem>> {
    let mut depth = 0_usize;
    let mut within_text = false;
    let mut escaped = false;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(Err(LineProblem::EndsEarly));
        }
        let closed = bytes.iter().position(|byte| {
            if within_text {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => within_text = false,
                    _ => {}
                }
                return false;
            }
            match byte {
                b'"' => within_text = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        let taken = closed.map_or(bytes.len(), |last| last + 1);
        if element.len() + taken > limit {
            return Ok(Err(LineProblem::TooLong { limit }));
        }
        element.extend_from_slice(&bytes[..taken]);
        reader.consume(taken);
        if closed.is_some() {
            return Ok(Ok(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(text: &str, buffer: usize) -> Result<Vec<String>, LineProblem> {
        let mut reader = BufReader::with_capacity(buffer, text.as_bytes());
        let (mut elements, mut element, mut found) = (Elements::default(), Vec::new(), Vec::new());
        while elements.next(&mut reader, 40, &mut element).unwrap()? {
            found.push(String::from_utf8(element.clone()).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn objects_are_found_in_buffers_of_any_size() {
        let objects = [r#"{"a": "}] \" , {"}"#, r#"{"b": [1, {"c": []}]}"#, "{}"];
        for buffer in [1, 2, 3, 7, 1000] {
            for text in [format!(" [{}\n]\n ", objects.join(" ,\n")), objects.join("\n"), objects.concat()] {
                assert_eq!(all(&text, buffer).unwrap(), objects, "{text}");
            }
            for text in ["", " \n", "[]", " [ ] "] {
                assert!(all(text, buffer).unwrap().is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn json_other_than_a_list_of_objects_is_refused() {
        for (text, words) in [
            ("[{}", "ends in the middle"),
            ("[{\"a\": 1", "ends in the middle"),
            ("[{},", "ends in the middle"),
            ("{\"a\": [", "ends in the middle"),
            ("[{} {}]", "expected a comma or the end of the array, got '{'"),
            ("[{},]", "expected an object, got ']'"),
            ("[1, 2]", "expected an object or the end of the array, got '1'"),
            ("[] {}", "expected the end of the file, got '{'"),
            ("\"hay\"", "expected an array or an object, got '\\\"'"),
            ("[{\"a\": \"0123456789012345678901234567890123456789\"}]", "longer than 40 bytes"),
        ] {
            let message = all(text, 8).unwrap_err().to_string();
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
