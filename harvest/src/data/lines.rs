//! Bounded reads of a line or of a whole text.

use std::io::{self, BufRead, Read};

use super::LineProblem;

/// Size limit of a line and of a text file: 64 MiB.
pub(super) const DOCUMENT_BYTES: usize = 64 << 20;

/// Reads a line into `line`, without its line ending. Returns `false` at the end of the file. Of a line that is too long,
/// `line` holds the beginning, with the line ending if that was read.
pub(super) fn read_line(
    reader: &mut impl BufRead,
    limit: usize,
    line: &mut Vec<u8>,
) -> io::Result<Result<bool, LineProblem>> {
    line.clear();
    // Two bytes more, for "\r\n" after a line of exactly the limit.
    reader.take(limit as u64 + 2).read_until(b'\n', line)?;
    if line.is_empty() {
        return Ok(Ok(false));
    }
    let text = line.strip_suffix(b"\n").map_or(line.as_slice(), |text| text.strip_suffix(b"\r").unwrap_or(text));
    let length = text.len();
    if length > limit {
        return Ok(Err(LineProblem::TooLong { limit }));
    }
    line.truncate(length);
    Ok(Ok(true))
}

/// Passes over the rest of a line.
pub(super) fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (count, is_over) = (end.map_or(bytes.len(), |end| end + 1), end.is_some() || bytes.is_empty());
        reader.consume(count);
        if is_over {
            return Ok(());
        }
    }
}

/// Reads the rest into `text`.
pub(super) fn read_text(
    reader: &mut impl Read,
    limit: usize,
    text: &mut Vec<u8>,
) -> io::Result<Result<(), LineProblem>> {
    text.clear();
    reader.take(limit as u64 + 1).read_to_end(text)?;
    Ok(if text.len() > limit { Err(LineProblem::TooLong { limit }) } else { Ok(()) })
}

/// Checks that bytes are UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, LineProblem> {
    std::str::from_utf8(bytes).map_err(|error| LineProblem::NotUtf8 { offset: error.valid_up_to() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut bytes: &[u8], limit: usize) -> Result<Vec<String>, LineProblem> {
        let mut line = Vec::new();
        let mut all = Vec::new();
        while read_line(&mut bytes, limit, &mut line).unwrap()? {
            all.push(utf8(&line)?.to_owned());
        }
        Ok(all)
    }

    #[test]
    fn endings_are_cut() {
        assert_eq!(lines(b"a\n\r\nbc\r\nd", 10).unwrap(), ["a", "", "bc", "d"]);
        assert!(lines(b"", 10).unwrap().is_empty());
    }

    #[test]
    fn a_line_longer_than_the_limit_is_refused() {
        assert_eq!(lines(b"abc\r\nab", 3).unwrap(), ["abc", "ab"]);
        for long in [&b"abcd\n"[..], b"abcd", b"abcde\n", b"abcdefgh\n"] {
            assert_eq!(lines(long, 3), Err(LineProblem::TooLong { limit: 3 }));
        }
    }

    #[test]
    fn a_text_longer_than_the_limit_is_refused() {
        let mut text = Vec::new();
        assert!(read_text(&mut &b"abc"[..], 3, &mut text).unwrap().is_ok());
        assert_eq!(text, b"abc");
        assert_eq!(read_text(&mut &b"abcd"[..], 3, &mut text).unwrap(), Err(LineProblem::TooLong { limit: 3 }));
    }

    #[test]
    fn other_bytes_than_utf8_are_refused_with_their_place() {
        assert_eq!(utf8(b"ab\xffc"), Err(LineProblem::NotUtf8 { offset: 2 }));
    }
}
