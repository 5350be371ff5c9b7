//! Data as scripts, in pieces of bounded size.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::error::BrowserError;

/// Bytes at which a piece ends. One item may be larger, and is then a piece by itself.
pub(crate) const PIECE_BYTES: usize = 192 << 10;

/// The folder of scripts that register data under their names.
#[derive(Debug)]
pub(crate) struct DataFolder {
    folder: PathBuf,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl DataFolder {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), files: 0, bytes: 0 }
    }

    /// Writes data under a name, which is that of the script too.
    pub(crate) fn write(&mut self, name: &str, value: &impl Serialize) -> Result<(), BrowserError> {
        self.write_json(name, &json(value)?)
    }

    /// Writes numbers under a name: their bytes, little-endian, in base 64.
    pub(crate) fn write_numbers<const N: usize>(
        &mut self,
        name: &str,
        kind: &'static str,
        numbers: impl Iterator<Item = [u8; N]>,
    ) -> Result<(), BrowserError> {
        #[derive(Serialize)]
        struct Column {
            kind: &'static str,
            data: String,
        }
        self.write(name, &Column { kind, data: STANDARD.encode(numbers.flatten().collect::<Vec<u8>>()) })
    }

    fn write_json(&mut self, name: &str, json: &[u8]) -> Result<(), BrowserError> {
        let path = self.folder.join(format!("{name}.js"));
        let write = || -> io::Result<u64> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = File::create(&path)?;
            let parts = [b"hayloft.add(\"", name.as_bytes(), b"\",", json, b");\n"];
            parts.iter().try_for_each(|part| file.write_all(part))?;
            Ok(parts.iter().map(|part| part.len() as u64).sum())
        };
        self.bytes += write().map_err(|cause| BrowserError::Write { path, cause })?;
        self.files += 1;
        Ok(())
    }
}

/// A list in pieces.
#[derive(Debug)]
pub(crate) struct Pieces {
    name: String,
    /// The number of each piece's first item.
    pub(crate) starts: Vec<u32>,
    items: u32,
    first: u32,
    body: Vec<u8>,
}

impl Pieces {
    pub(crate) fn new(name: String) -> Self {
        Self { name, starts: Vec::new(), items: 0, first: 0, body: Vec::new() }
    }

    /// Adds an item; `true` when the piece is full.
    pub(crate) fn push(&mut self, item: &impl Serialize) -> Result<bool, BrowserError> {
        if !self.body.is_empty() {
            self.body.push(b',');
        }
        self.body.extend(json(item)?);
        self.items += 1;
        Ok(self.body.len() >= PIECE_BYTES)
    }

    /// Adds an item, and writes the piece when it is full.
    pub(crate) fn write(&mut self, item: &impl Serialize, into: &mut DataFolder) -> Result<(), BrowserError> {
        if self.push(item)? { self.end(None::<&()>, into) } else { Ok(()) }
    }

    /// Writes what is left, with what its items share.
    pub(crate) fn end(&mut self, shared: Option<&impl Serialize>, into: &mut DataFolder) -> Result<(), BrowserError> {
        if self.items == self.first {
            return Ok(());
        }
        let mut text = format!("{{\"first\":{},\"shared\":", self.first).into_bytes();
        text.extend(json(&shared)?);
        text.extend(b",\"items\":[");
        text.append(&mut self.body);
        text.extend(b"]}");
        into.write_json(&format!("{}-{}", self.name, self.starts.len()), &text)?;
        self.starts.push(self.first);
        self.first = self.items;
        Ok(())
    }
}

/// JSON that may stand in a script, wherever the script stands.
fn json(value: &impl Serialize) -> Result<Vec<u8>, BrowserError> {
    let mut text = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut text, Escaping));
    written.map_err(|error| BrowserError::Write { path: "JSON".into(), cause: error.into() })?;
    Ok(text)
}

/// Escapes what could end a script, begin a comment in one, or end a line.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_escaped =
            |character| matches!(character, '<' | '>' | '&' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(place) = rest.find(is_escaped) {
            let (plain, other) = rest.split_at(place);
            let mut characters = other.chars();
            let code = characters.next().map_or(0, u32::from);
            write!(writer, "{plain}\\u{code:04x}")?;
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn what_could_end_a_script_is_escaped_and_means_the_same() {
        let text = "a</script><!--&\u{2028}\u{2029}\u{85}\"\\\n é";
        let written = String::from_utf8(json(&text).unwrap()).unwrap();
        assert!(!written.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{85}', '\n']), "{written}");
        assert!(written.contains(r"\u003c/script\u003e") && written.contains('é'), "{written}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }

    #[test]
    fn pieces_are_bounded_and_say_where_they_begin() {
        let folder = tempdir().unwrap();
        let mut into = DataFolder::new(folder.path());
        let mut pieces = Pieces::new("0/labels".to_owned());
        let item = "x".repeat(PIECE_BYTES / 4);
        for _ in 0..9 {
            pieces.write(&item, &mut into).unwrap();
        }
        pieces.write(&"y".repeat(3 * PIECE_BYTES), &mut into).unwrap();
        pieces.write(&1, &mut into).unwrap();
        pieces.end(Some(&["shared"]), &mut into).unwrap();
        pieces.end(Some(&["shared"]), &mut into).unwrap();
        assert_eq!(pieces.starts, [0, 4, 8, 10]);
        assert_eq!(into.files, 4);
        let last = std::fs::read_to_string(folder.path().join("0/labels-3.js")).unwrap();
        assert_eq!(last, "hayloft.add(\"0/labels-3\",{\"first\":10,\"shared\":[\"shared\"],\"items\":[1]});\n");
        let sizes: Vec<u64> =
            (0..4).map(|piece| folder.path().join(format!("0/labels-{piece}.js")).metadata().unwrap().len()).collect();
        assert_eq!(sizes.iter().sum::<u64>(), into.bytes);
        assert!(sizes[0] < 2 * PIECE_BYTES as u64, "{sizes:?}");
    }

    #[test]
    fn numbers_are_little_endian_in_base_64() {
        let folder = tempdir().unwrap();
        let mut into = DataFolder::new(folder.path());
        into.write_numbers("0/mean", "f32", [1f32, f32::NAN].into_iter().map(f32::to_le_bytes)).unwrap();
        let text = std::fs::read_to_string(folder.path().join("0/mean.js")).unwrap();
        assert_eq!(text, "hayloft.add(\"0/mean\",{\"kind\":\"f32\",\"data\":\"AACAPwAAwH8=\"});\n");
    }
}
