//! Reads the records of a CSV file.

use std::io::{self, Read};
use std::path::Path;

use hayloft_store::FileRecord;
use serde_json::{Map, Value};

use super::hashing::DataReader;
use super::lines::{DOCUMENT_BYTES, utf8};
use super::{DataError, DataFile, FieldPath, LineProblem};

/// Reads a CSV file (RFC 4180) with a header. A record may go over several lines within quotes.
pub(super) struct CsvRows {
    reader: csv::Reader<Bounded>,
    record: csv::ByteRecord,
    header: Option<Vec<String>>,
}

/// Limits what a record may take, because the parser holds a whole record in memory.
struct Bounded {
    inner: DataReader,
    left: usize,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let most = buffer.len().min(self.left);
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}

impl CsvRows {
    /// Positions before the header.
    pub(super) fn open(file: &DataFile) -> Result<Self, DataError> {
        let bounded = Bounded { inner: DataReader::open(file)?, left: 0 };
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bounded);
        Ok(Self { reader, record: csv::ByteRecord::new(), header: None })
    }

    /// Hashes the rest of the file, and returns the plan's record of it.
    pub(super) fn finish(self, file: &DataFile) -> Result<FileRecord, DataError> {
        self.reader.into_inner().inner.finish(file)
    }

    /// Returns the next record with the line on which it begins, from 1. Columns other than those of `fields` are null.
    pub(super) fn next(&mut self, path: &Path, fields: &[FieldPath]) -> Result<Option<Record>, DataError> {
        if self.header.is_none() {
            match self.read(path)? {
                None => return Ok(None),
                Some((line, Err(problem))) => return Err(DataError::Line { path: path.to_owned(), line, problem }),
                Some((line, Ok(()))) => {
                    let names = self.record.iter().map(|name| utf8(name).map(str::to_owned)).collect();
                    let names: Result<Vec<String>, _> = names;
                    let error = |problem| DataError::Line { path: path.to_owned(), line, problem };
                    self.header = Some(names.map_err(error)?);
                }
            }
        }
        let Some((line, read)) = self.read(path)? else { return Ok(None) };
        Ok(Some((line, read.and_then(|()| self.object(fields)))))
    }

    fn object(&self, fields: &[FieldPath]) -> Result<Value, LineProblem> {
        let mut object = Map::new();
        for (name, value) in self.header.iter().flatten().zip(&self.record) {
            let is_wanted = fields.iter().any(|field| field.root() == name);
            let value = if is_wanted { Value::String(utf8(value)?.to_owned()) } else { Value::Null };
            object.insert(name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    /// Reads a record. Returns its line, and what is wrong with it; `None` at the end of the file.
    fn read(&mut self, path: &Path) -> Result<Option<ReadRecord>, DataError> {
        /// What the parser may read ahead.
        const AHEAD: usize = 1 << 16;
        self.reader.get_mut().left = DOCUMENT_BYTES + AHEAD;
        let line = self.reader.position().line();
        let read = self.reader.read_byte_record(&mut self.record);
        let begins = self.record.position().map_or(line, csv::Position::line);
        match read.map_err(csv::Error::into_kind) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some((begins, Ok(())))),
            Err(csv::ErrorKind::UnequalLengths { expected_len, len, pos }) => {
                let line = pos.map_or(begins, |position| position.line());
                Ok(Some((line, Err(LineProblem::Columns { expected: expected_len, got: len }))))
            }
            Err(csv::ErrorKind::Io(cause)) if cause.kind() == io::ErrorKind::FileTooLarge => {
                let problem = LineProblem::TooLong { limit: DOCUMENT_BYTES };
                Err(DataError::Line { path: path.to_owned(), line, problem })
            }
            Err(csv::ErrorKind::Io(cause)) => Err(self.reader.get_ref().inner.error(path, cause)),
            // The parser of bytes has no other errors.
            Err(_) => Err(self.reader.get_ref().inner.error(path, io::ErrorKind::InvalidData.into())),
        }
    }
}

/// The line of a record, and what is wrong with it.
type ReadRecord = (u64, Result<(), LineProblem>);

/// The line of a record, and its fields.
pub(super) type Record = (u64, Result<Value, LineProblem>);
