//! Page headers that are read in as many steps as they have bytes.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::structure_bytes;
use super::wrong;

/// Bytes that are read of a header at first, and by how much more each time if it is longer.
const FIRST_BYTES: u64 = 4 << 10;
const GROWTH: u64 = 16;

/// Largest header: it may hold texts as statistics.
const MOST_BYTES: u64 = 16 << 20;

/// A file whose page headers are checked before the Parquet crate decodes them. The crate skips a list of a field that it does
/// not know in as many steps as the list declares, also behind the end of the file.
pub(crate) struct CheckedHeaders<R>(Arc<R>);

/// The bytes of a header, read when they are asked for: the crate also begins to read where a page is whose header it has.
pub(crate) struct HeaderBytes<R> {
    file: Arc<R>,
    start: u64,
    read: Option<Cursor<Bytes>>,
}

impl<R> CheckedHeaders<R> {
    pub(crate) fn of(file: &Arc<R>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(file)))
    }
}

impl<R: ChunkReader> Length for CheckedHeaders<R> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<R: ChunkReader> ChunkReader for CheckedHeaders<R> {
    type T = HeaderBytes<R>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(HeaderBytes { file: Arc::clone(&self.0), start, read: None })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

impl<R: ChunkReader> Read for HeaderBytes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(bytes) = &mut self.read {
            return bytes.read(buffer);
        }
        let bytes = header(self.file.as_ref(), self.start).map_err(io::Error::other)?;
        self.read.insert(Cursor::new(bytes)).read(buffer)
    }
}

/// The bytes of the header at a place.
fn header<R: ChunkReader>(file: &R, start: u64) -> Result<Bytes> {
    let left = file.len().saturating_sub(start);
    let mut wanted = FIRST_BYTES;
    loop {
        let bytes = file.get_bytes(start, left.min(wanted) as usize)?;
        if let Some(length) = structure_bytes(&bytes) {
            return Ok(bytes.slice(..length));
        }
        if wanted >= left.min(MOST_BYTES) {
            return Err(wrong("expected the header of a page, got other bytes"));
        }
        wanted *= GROWTH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(file: &[u8], start: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = CheckedHeaders(Arc::new(Bytes::copy_from_slice(file)));
        file.get_read(start).map_err(io::Error::other)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn nothing_is_read_where_a_page_is() {
        assert!(CheckedHeaders(Arc::new(Bytes::from_static(&[0xff; 9]))).get_read(3).is_ok());
    }

    #[test]
    fn a_header_ends_with_its_structure_however_long_it_is() {
        assert_eq!(header(&[9, 0x15, 2, 0, 7, 7], 1).unwrap(), [0x15, 2, 0]);
        // A text of 70,000 bytes, whose length is a varint.
        let mut long = vec![0x18, 0xf0, 0xa2, 0x04];
        long.resize(long.len() + 70_000, b'a');
        long.push(0);
        let whole = long.len();
        long.extend([1; 9]);
        assert_eq!(header(&long, 0).unwrap().len(), whole);
        assert!(header(&long[..whole - 1], 0).is_err());
        assert!(header(&long, long.len() as u64).is_err() && header(&long, u64::MAX).is_err());
    }

    #[test]
    fn lists_that_declare_more_than_there_is_are_no_headers() {
        // Of 2³¹ − 1 numbers, and of as many booleans.
        for kind in [0xf7, 0xf1] {
            assert!(header(&[0x19, kind, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0], 0).is_err());
        }
    }
}
