//! What a data file holds, by the ending of its name.

use std::path::Path;

/// The kinds of data file that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// JSON Lines: one object, and so one document, on each line.
    Lines {
        /// Whether the file is compressed with zstd.
        zstd: bool,
    },
    /// Plain text: the whole file is one document.
    Text {
        /// Whether the file is compressed with zstd.
        zstd: bool,
    },
}

impl FileKind {
    /// The endings that are known, for messages.
    pub const ENDINGS: &'static str = ".jsonl, .ndjson, .jsonl.zst, .ndjson.zst, .txt or .txt.zst";

    /// The kind that a file's name says it is.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (name, zstd) = match name.strip_suffix(".zst") {
            Some(inner) => (inner, true),
            None => (name, false),
        };
        match Path::new(name).extension()?.to_str()? {
            "jsonl" | "ndjson" => Some(Self::Lines { zstd }),
            "txt" => Some(Self::Text { zstd }),
            _ => None,
        }
    }

    /// Whether the file is compressed with zstd.
    pub fn is_zstd(self) -> bool {
        match self {
            Self::Lines { zstd } | Self::Text { zstd } => zstd,
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
            ("b.json", None),
            ("b.parquet", None),
            ("jsonl", None),
            ("", None),
        ] {
            assert_eq!(FileKind::of(Path::new(name)), kind, "{name}");
        }
    }
}
