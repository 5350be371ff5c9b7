//! Compression of data files, told by their first bytes and else by their names.

use std::path::Path;

/// How a data file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// gzip, of one member or several.
    Gzip,
    /// xz, of one stream or several.
    Xz,
    /// Zstandard, of one frame or several.
    Zstd,
}

impl Compression {
    const ALL: [Self; 3] = [Self::Gzip, Self::Xz, Self::Zstd];

    /// Returns the name of the format, for messages.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// The first bytes of a file. None of them begins a text in UTF-8.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => &[0x1f, 0x8b],
            Self::Xz => &[0xfd, b'7', b'z', b'X', b'Z', 0],
            Self::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
        }
    }

    /// Returns a file's name without the ending of a compression, and that compression.
    pub(super) fn of_name(name: &str) -> (&str, Option<Self>) {
        let found = Self::ALL.into_iter().find_map(|it| Some((name.strip_suffix(it.ending())?, Some(it))));
        found.unwrap_or((name, None))
    }

    /// Returns the compression of a file that begins with these bytes, and whether its name alone says so.
    pub(super) fn of_file(path: &Path, head: &[u8]) -> Option<(Self, bool)> {
        let by_name = || Self::of_name(path.file_name()?.to_str()?).1;
        let by_head = Self::ALL.into_iter().find(|it| head.starts_with(it.magic()));
        by_head.map(|it| (it, false)).or_else(|| Some((by_name()?, true)))
    }
}
