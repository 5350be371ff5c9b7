//! Kinds of data file, by file name extension.

use std::path::Path;

use super::compression::Compression;

/// Supported kinds of data file. All but Parquet and Arrow may be compressed with gzip, xz or zstd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// JSON Lines: each line is an object, which is one document.
    Lines,
    /// JSON: an array of objects or a sequence of objects, each a document.
    Json,
    /// CSV with a header: each record is a document.
    Csv,
    /// A Parquet table: each row is a document.
    Parquet,
    /// An Arrow stream: each row is a document.
    Arrow,
    /// Plain text: the whole file is one document.
    Text,
}

impl FileKind {
    /// The supported extensions, for messages.
    pub const ENDINGS: &'static str =
        ".jsonl, .ndjson, .json, .csv or .txt, with or without .gz, .xz or .zst, or .parquet or .arrow";

    /// What a file of this kind is expected to be, for messages.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Lines => "JSON Lines",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Parquet => "a Parquet file",
            Self::Arrow => "an Arrow stream",
            Self::Text => "text",
        }
    }

    /// Returns the kind by the file name's extension.
    pub fn of(path: &Path) -> Option<Self> {
        let (name, compression) = Compression::of_name(path.file_name()?.to_str()?);
        match Path::new(name).extension()?.to_str()? {
            "jsonl" | "ndjson" => Some(Self::Lines),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "parquet" if compression.is_none() => Some(Self::Parquet),
            "arrow" if compression.is_none() => Some(Self::Arrow),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_kinds() {
        for (name, kind) in [
            ("a/b.jsonl", Some(FileKind::Lines)),
            ("b.ndjson", Some(FileKind::Lines)),
            ("b.x.jsonl.zst", Some(FileKind::Lines)),
            ("c4-train.00000-of-01024.json.gz", Some(FileKind::Json)),
            ("b.txt", Some(FileKind::Text)),
            ("b.txt.zst", Some(FileKind::Text)),
            ("b.zst", None),
            ("b.json", Some(FileKind::Json)),
            ("b.json.xz", Some(FileKind::Json)),
            ("b.parquet", Some(FileKind::Parquet)),
            ("b.parquet.zst", None),
            ("data-00000-of-00002.arrow", Some(FileKind::Arrow)),
            ("b.csv", Some(FileKind::Csv)),
            ("b.jsonl.bz2", None),
            ("jsonl", None),
            ("", None),
        ] {
            assert_eq!(FileKind::of(Path::new(name)), kind, "{name}");
        }
    }
}
