//! Several files in one input, for readers of folders.
//!
//! ```text
//! @@ manifest.json
//! { … }
//! @= plan.json
//! { … }
//! ```
//!
//! A file is what stands between the line with its name and the next such line. Hashes that the files have of each other are put
//! right, and so are lengths, but those of a file that is begun with `@=`: what is recorded of it may be any number.

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bundled<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
    /// Whether recorded lengths of it are put right.
    pub(crate) sized: bool,
}

/// The files of an input; what comes before the first is nothing.
pub(crate) fn parse(input: &[u8]) -> Vec<Bundled<'_>> {
    let begins = |at: &usize| {
        let after_line = *at == 0 || input[at - 1] == b'\n';
        after_line && (input[*at..].starts_with(b"@@ ") || input[*at..].starts_with(b"@= "))
    };
    let starts: Vec<usize> = (0..input.len()).filter(begins).collect();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([input.len()]);
    let file = |(start, end): (&usize, usize)| {
        let own = &input[*start..end];
        let line = own.iter().position(|byte| *byte == b'\n')?;
        let name = std::str::from_utf8(&own[3..line]).ok()?;
        Some(Bundled { name, bytes: &own[line + 1..], sized: own[1] == b'@' })
    };
    starts.iter().zip(ends).filter_map(file).collect()
}

/// An input of these files.
pub(crate) fn join(files: &[Bundled<'_>]) -> Vec<u8> {
    let file = |file: &Bundled<'_>| {
        let mark = if file.sized { "@@" } else { "@=" };
        [format!("{mark} {}\n", file.name).as_bytes(), file.bytes].concat()
    };
    files.iter().map(file).collect::<Vec<_>>().join(&b'\n')
}

/// Puts right what JSON, laid out as this project writes it, records of a file: of the first that has this path.
pub(crate) fn put_right(text: &mut String, path: &str, file: &Bundled<'_>) {
    let Some(record) = text.find(&format!("\"path\": \"{path}\"")) else { return };
    if file.sized {
        replace(text, record, "\"bytes\": ", |byte| !byte.is_ascii_digit(), &file.bytes.len().to_string());
    }
    replace(text, record, "\"blake3\": \"", |byte| byte == b'"', &hayloft_store::fuzzing::blake3(file.bytes));
}

/// Replaces what follows the next `key`, up to what ends it, where it stands near.
pub(crate) fn replace(text: &mut String, from: usize, key: &str, ends: impl Fn(u8) -> bool, value: &str) {
    /// Bytes of a record.
    const NEAR: usize = 300;
    let Some(start) = text[from..].find(key).filter(|found| *found < NEAR).map(|found| from + found + key.len()) else {
        return;
    };
    let end = text.as_bytes()[start..].iter().position(|byte| ends(*byte)).map_or(text.len(), |length| start + length);
    if text.is_char_boundary(end) {
        text.replace_range(start..end, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_joined_are_parsed_whatever_is_in_them() {
        let files = [
            Bundled { name: "a.json", bytes: b"{}\n", sized: true },
            Bundled { name: "b/c", bytes: b"\x00\xff\n\n@", sized: false },
            Bundled { name: "empty", bytes: b"", sized: true },
        ];
        assert_eq!(parse(&join(&files)), files);
        assert_eq!(parse(b"no file\n@@x\n@@ without its line"), []);
        assert_eq!(parse(b"before\n@@ a\nb"), [Bundled { name: "a", bytes: b"b", sized: true }]);
    }

    #[test]
    fn a_record_is_put_right_and_its_length_unless_it_may_be_anything() {
        let json = "{ \"path\": \"a\",\n \"bytes\": 12,\n \"blake3\": \"00\" }";
        let hash = hayloft_store::fuzzing::blake3(b"hay");
        for (sized, bytes) in [(true, 3), (false, 12)] {
            let mut text = json.to_owned();
            put_right(&mut text, "a", &Bundled { name: "a", bytes: b"hay", sized });
            assert_eq!(text, format!("{{ \"path\": \"a\",\n \"bytes\": {bytes},\n \"blake3\": \"{hash}\" }}"));
        }
        let mut text = json.to_owned();
        put_right(&mut text, "b", &Bundled { name: "b", bytes: b"hay", sized: true });
        assert_eq!(text, json);
    }
}
