//! Reads a data file in one pass: hashes and decompresses it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use hayloft_hub::Sha256;
use hayloft_runtime::other_file;
use hayloft_store::FileRecord;
use lzma_rust2::XzReader;
use sha2::Digest;

use super::compression::Compression;
use super::{DataError, DataFile, FileKind, LineProblem};

/// A file that counts and hashes its bytes while they are read.
struct HashedFile {
    file: File,
    bytes: u64,
    blake3: blake3::Hasher,
    sha256: sha2::Sha256,
}

impl Read for HashedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let read = &buffer[..count];
        self.bytes += count as u64;
        self.blake3.update(read);
        self.sha256.update(read);
        Ok(count)
    }
}

fn open_hashed(file: &DataFile) -> Result<BufReader<HashedFile>, DataError> {
    let error = |source| DataError::file(&file.path, "open", source);
    // Opening a pipe without a writer blocks indefinitely.
    if !file.path.metadata().map_err(error)?.is_file() {
        return Err(error(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, got something else")));
    }
    let hashed = HashedFile {
        file: File::open(&file.path).map_err(error)?,
        bytes: 0,
        blake3: blake3::Hasher::new(),
        sha256: sha2::Sha256::new(),
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, hashed))
}

/// Reads a data file. The output is decompressed; the hash covers the file on disk.
pub(super) struct DataReader {
    stream: Stream,
    /// Whether the file's name alone says that it is compressed.
    by_name: bool,
    /// Decompressed bytes returned so far.
    pub(super) bytes: u64,
}

enum Stream {
    Plain(BufReader<HashedFile>),
    Gzip(BufReader<MultiGzDecoder<BufReader<HashedFile>>>),
    Xz(Box<BufReader<XzReader<BufReader<HashedFile>>>>),
    Zstd(BufReader<zstd::Decoder<'static, BufReader<HashedFile>>>),
}

/// Large enough that hashing and decompression work on whole blocks.
const BUFFER_BYTES: usize = 1 << 18;

/// Limit on the memory of an xz decoder in KiB. Files of `xz -9` take half of it.
const XZ_KIBIBYTES: u32 = 128 << 10;

/// A byte-order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

impl DataReader {
    /// Opens a file of text. Finds out whether it is compressed, and passes over a byte-order mark.
    pub(super) fn open(file: &DataFile) -> Result<Self, DataError> {
        let error = |source| DataError::file(&file.path, "open", source);
        let mut raw = open_hashed(file)?;
        let head = raw.fill_buf().map_err(error)?;
        let compression = Compression::of_file(&file.path, head);
        let by_name = compression.is_some_and(|(_, by_name)| by_name);
        if by_name {
            file.refuse_other(head)?;
        }
        let stream = match compression.map(|(compression, _)| compression) {
            None => Stream::Plain(raw),
            Some(Compression::Gzip) => Stream::Gzip(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw))),
            Some(Compression::Xz) => {
                let decoder = XzReader::new_mem_limit(raw, true, XZ_KIBIBYTES);
                Stream::Xz(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)))
            }
            Some(Compression::Zstd) => {
                let decoder = zstd::Decoder::with_buffer(raw).map_err(error)?;
                Stream::Zstd(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
        };
        let mut reader = Self { stream, by_name, bytes: 0 };
        match reader.fill_buf() {
            // The error is that of the first read, too.
            Err(cause) => return Err(reader.error(&file.path, cause)),
            Ok(head) if head.starts_with(MARK) => reader.consume(MARK.len()),
            Ok(head) if is_utf16(head) => {
                return Err(DataError::Text { path: file.path.clone(), problem: LineProblem::Utf16 });
            }
            Ok(head) => file.refuse_other(head)?,
        }
        Ok(reader)
    }

    /// Opens a file whose bytes are only hashed.
    pub(super) fn open_bytes(file: &DataFile) -> Result<Self, DataError> {
        Ok(Self { stream: Stream::Plain(open_hashed(file)?), by_name: false, bytes: 0 })
    }

    /// Reads the rest of the file, checks its SHA-256 against the data manifest's, and returns the plan's record of the
    /// file.
    pub(super) fn finish(self, file: &DataFile) -> Result<FileRecord, DataError> {
        let mut hashed = match self.stream {
            Stream::Plain(reader) => reader.into_inner(),
            Stream::Gzip(reader) => reader.into_inner().into_inner().into_inner(),
            Stream::Xz(reader) => reader.into_inner().into_inner().into_inner(),
            Stream::Zstd(reader) => reader.into_inner().finish().into_inner(),
        };
        io::copy(&mut hashed, &mut io::sink()).map_err(|source| DataError::file(&file.path, "read", source))?;
        let got = Sha256::from_bytes(&hashed.sha256.finalize());
        if let Some(expected) = file.sha256.as_ref().filter(|expected| **expected != got) {
            return Err(DataError::Hash {
                path: file.path.clone(),
                expected: expected.to_string(),
                got: got.to_string(),
            });
        }
        Ok(FileRecord {
            path: file.named.clone(),
            bytes: hashed.bytes,
            blake3: hashed.blake3.finalize().to_hex().to_string(),
        })
    }

    /// Converts a read error. Distinguishes a damaged archive from a failing disk.
    pub(super) fn error(&self, path: &Path, cause: io::Error) -> DataError {
        let compression = match self.stream {
            Stream::Plain(_) => return DataError::file(path, "read", cause),
            Stream::Gzip(_) => Compression::Gzip,
            Stream::Xz(_) => Compression::Xz,
            Stream::Zstd(_) => Compression::Zstd,
        };
        let (path, compression) = (path.to_owned(), compression.as_str());
        DataError::Compressed { path, compression, by_name: self.by_name, bytes: self.bytes, cause }
    }
}

/// Whether text begins as UTF-16: with its byte-order mark, or with two letters of the Latin alphabet without one.
fn is_utf16(head: &[u8]) -> bool {
    match head {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [a, b, c, d, ..] => {
            let is_pair = |zeros: [u8; 2], letters: [u8; 2]| zeros == [0, 0] && !letters.contains(&0);
            is_pair([*a, *c], [*b, *d]) || is_pair([*b, *d], [*a, *c])
        }
        _ => false,
    }
}

impl DataFile {
    /// Refuses a file that begins as another than its name says. A text may begin as it likes, but for what stands for
    /// another file.
    pub(super) fn refuse_other(&self, head: &[u8]) -> Result<(), DataError> {
        let is_any_text = self.kind == FileKind::Text && !head.starts_with(b"version https://git-lfs");
        match other_file(head).filter(|_| !is_any_text || head.starts_with(b"PK")) {
            Some(got) => Err(DataError::OtherFile { path: self.path.clone(), expected: self.kind.expected(), got }),
            None => Ok(()),
        }
    }
}

impl Read for DataReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.stream {
            Stream::Plain(reader) => reader.read(buffer)?,
            Stream::Gzip(reader) => reader.read(buffer)?,
            Stream::Xz(reader) => reader.read(buffer)?,
            Stream::Zstd(reader) => reader.read(buffer)?,
        };
        self.bytes += count as u64;
        Ok(count)
    }
}

impl BufRead for DataReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.stream {
            Stream::Plain(reader) => reader.fill_buf(),
            Stream::Gzip(reader) => reader.fill_buf(),
            Stream::Xz(reader) => reader.fill_buf(),
            Stream::Zstd(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        self.bytes += count as u64;
        match &mut self.stream {
            Stream::Plain(reader) => reader.consume(count),
            Stream::Gzip(reader) => reader.consume(count),
            Stream::Xz(reader) => reader.consume(count),
            Stream::Zstd(reader) => reader.consume(count),
        }
    }
}
