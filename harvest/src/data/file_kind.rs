//! Kinds of data file, by file name extension.

use std::path::Path;

/// Supported kinds of data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// JSON Lines: each line is an object, which is one document.
    Lines {
        /// Whether the file is compressed with zstd.
        zstd: bool,
    },
    /// JSON: an array of objects or a sequence of objects, each a document.
    Json {
        /// Whether the file is compressed with zstd.
        zstd: bool,
    },
    /// A Parquet table: each row is a document.
    Parquet,
    /// Plain text: the whole file is one document.
    Text {
        /// Whether the file is compressed with zstd.
        zstd: bool,
    },
}

impl FileKind {
    /// The supported extensions, for messages.
    pub const ENDINGS: &'static str = ".jsonl, .ndjson, .json or .txt, with or without .zst, or .parquet";

    /// Returns the kind by the file name's extension.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (name, zstd) = match name.strip_suffix(".zst") {
            Some(inner) => (inner, true),
            None => (name, false),
        };
        match Path::new(name).extension()?.to_str()? {
            "jsonl" | "ndjson" => Some(Self::Lines { zstd }),
            "json" => Some(Self::Json { zstd }),
            "parquet" if !zstd => Some(Self::Parquet),
            "txt" => Some(Self::Text { zstd }),
            _ => None,
        }
    }

    /// Returns whether the file is compressed with zstd.
    pub fn is_zstd(self) -> bool {
        match self {
            Self::Lines { zstd } | Self::Json { zstd } | Self::Text { zstd } => zstd,
            Self::Parquet => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_kinds() {
        for (name, kind) in [
            ("a/b.jsonl", Some(FileKind::Lines { zstd: false })),
            ("b.ndjson", Some(FileKind::Lines { zstd: false })),
            ("b.x.jsonl.zst", Some(FileKind::Lines { zstd: true })),
            ("b.txt", Some(FileKind::Text { zstd: false })),
            ("b.txt.zst", Some(FileKind::Text { zstd: true })),
            ("b.zst", None),
            ("b.json", Some(FileKind::Json { zstd: false })),
            ("b.json.zst", Some(FileKind::Json { zstd: true })),
            ("b.parquet", Some(FileKind::Parquet)),
            ("b.parquet.zst", None),
            ("b.csv", None),
            ("jsonl", None),
            ("", None),
        ] {
            assert_eq!(FileKind::of(Path::new(name)), kind, "{name}");
        }
    }
}
