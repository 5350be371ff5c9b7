//! Zip archives as written by numpy and `PyTorch`.
//!
//! Nothing is extracted to disk. Stored members are read in place. Compressed members are decompressed into memory, up to a
//! limit derived from the archive's size.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use zip::{CompressionMethod, ZipArchive};

/// Decompressed bytes allowed for an archive of any size. A limit is needed because zeros compress without bound.
const ALWAYS_PLAUSIBLE: u64 = 64 << 20;

/// Decompressed bytes allowed for larger archives, as a multiple of the archive's size. Weights hardly compress.
const MOST_RATIO: u64 = 64;

/// A memory-mapped zip archive.
pub(super) struct Archive<'bytes> {
    bytes: &'bytes [u8],
    inner: ZipArchive<Cursor<&'bytes [u8]>>,
    /// Index of each member, by name.
    indices: BTreeMap<String, usize>,
    /// Remaining decompression budget in bytes.
    plausible: u64,
}

/// A member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// Stored: bytes `start..end` of the file.
    Stored { start: usize, end: usize },
    /// Compressed: its index.
    Packed { index: usize },
}

impl<'bytes> Archive<'bytes> {
    /// Whether a file starts with the zip signature.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    pub(super) fn open(bytes: &'bytes [u8]) -> Result<Self, String> {
        if !is_whole(bytes) {
            return Err("an archive whose directory does not end where the file does".to_owned());
        }
        let mut inner = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
        let mut indices = BTreeMap::new();
        for index in 0..inner.len() {
            let name = inner.by_index_raw(index).map_err(|error| error.to_string())?.name().to_owned();
            if indices.insert(name.clone(), index).is_some() {
                return Err(format!("two members called {name}"));
            }
        }
        let plausible = ALWAYS_PLAUSIBLE.max((bytes.len() as u64).saturating_mul(MOST_RATIO));
        Ok(Self { bytes, inner, indices, plausible })
    }

    /// The names of the members.
    pub(super) fn names(&self) -> Vec<String> {
        self.indices.keys().cloned().collect()
    }

    /// Locates a member.
    pub(super) fn member(&mut self, name: &str) -> Result<Member, String> {
        let whole = self.bytes.len() as u64;
        let index = *self.indices.get(name).ok_or_else(|| format!("no member {name}"))?;
        let member = self.inner.by_index_raw(index).map_err(|error| format!("member {name}: {error}"))?;
        if member.compression() != CompressionMethod::Stored {
            return Ok(Member::Packed { index });
        }
        let (start, size) = (member.data_start(), member.compressed_size());
        match start.checked_add(size).filter(|end| *end <= whole && member.size() == size) {
            Some(end) => Ok(Member::Stored { start: start as usize, end: end as usize }),
            None => Err(format!("member {name} of {size} bytes at {start} lies beyond the file's {whole}")),
        }
    }

    /// Reads and decompresses a member, if it has at most `most` bytes.
    pub(super) fn read(&mut self, member: Member, most: u64) -> Result<Vec<u8>, String> {
        let index = match member {
            Member::Stored { start, end } if (end - start) as u64 <= most => return Ok(self.bytes[start..end].to_vec()),
            Member::Stored { start, end } => {
                return Err(format!("a member of {} bytes, more than {most}", end - start));
            }
            Member::Packed { index } => index,
        };
        let member = self.inner.by_index(index).map_err(|error| error.to_string())?;
        let (name, packed) = (member.name().to_owned(), member.compressed_size());
        let plausible = self.plausible.min(most);
        let mut bytes = Vec::new();
        member.take(plausible + 1).read_to_end(&mut bytes).map_err(|error| format!("member {name}: {error}"))?;
        if bytes.len() as u64 > plausible {
            return Err(format!(
                "member {name} unpacks to more than {plausible} bytes from {packed}, which no weights do: a zip bomb"
            ));
        }
        self.plausible -= bytes.len() as u64;
        Ok(bytes)
    }
}

/// Whether the end-of-central-directory record, with its comment, ends the file. Zip readers do not check this.
fn is_whole(bytes: &[u8]) -> bool {
    const RECORD: usize = 22;
    let last = bytes.windows(4).rposition(|window| window == b"PK\x05\x06");
    last.and_then(|start| bytes.get(start..start + RECORD).map(|record| (start, record))).is_some_and(
        |(start, record)| {
            let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
            start + RECORD + comment == bytes.len()
        },
    )
}
