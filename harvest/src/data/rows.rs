//! Reads the rows of all files of a data manifest.

use std::path::Path;

use hayloft_store::FileRecord;
use serde_json::Value;

use super::arrow_rows::ArrowRows;
use super::csv_rows::CsvRows;
use super::elements::Elements;
use super::fields::Fields;
use super::hashing::DataReader;
use super::json_fields::parse;
use super::lines::{DOCUMENT_BYTES, read_line, read_text, skip_line, utf8};
use super::parquet_rows::ParquetRows;
use super::{BadRows, DataError, DataFile, DataManifest, FieldPath, FileKind, LineProblem};

/// A row: the source of one document or conversation.
pub(super) struct Row<'manifest> {
    /// The row's index among all rows of the data manifest's files, from 0. Skipped ones are not counted.
    pub(super) index: u64,
    pub(super) content: Content,
    place: Place<'manifest>,
}

/// The content of a row.
pub(super) enum Content {
    /// The fields of an object.
    Fields(Value),
    /// A whole text file.
    Text(String),
}

/// The position of a row, for messages.
#[derive(Clone, Copy)]
struct Place<'manifest> {
    /// The file's index in the data manifest.
    file_index: usize,
    file: &'manifest DataFile,
    /// The line from 1, or the row within the file from 0.
    number: u64,
}

impl Row<'_> {
    /// Returns an error about this row.
    pub(super) fn wrong(&self, problem: LineProblem) -> DataError {
        self.place.wrong(problem)
    }

    /// Returns the index of the row's file in the data manifest.
    pub(super) fn file_index(&self) -> usize {
        self.place.file_index
    }

    /// Returns the text of a field; for a text file, the whole text. `key` is the data manifest's key for the field.
    pub(super) fn text(&self, field: &FieldPath, key: &'static str) -> Result<Option<&str>, DataError> {
        match &self.content {
            Content::Text(text) => Ok(Some(text)),
            Content::Fields(fields) => field.text(fields, key).map_err(|problem| self.wrong(problem)),
        }
    }
}

impl Place<'_> {
    fn wrong(self, problem: LineProblem) -> DataError {
        let path = self.file.path.clone();
        match self.file.kind {
            FileKind::Lines | FileKind::Csv => DataError::Line { path, line: self.number, problem },
            FileKind::Json | FileKind::Parquet | FileKind::Arrow => DataError::Row { path, row: self.number, problem },
            FileKind::Text => DataError::Text { path, problem },
        }
    }
}

/// What was read of the files.
#[derive(Debug, Default)]
pub(super) struct RowsRead {
    /// The files opened, in order, each hashed to its end.
    pub(super) files: Vec<FileRecord>,
    /// Rows skipped because they cannot be used.
    pub(super) bad_rows: u64,
}

/// Reads rows in file order. Every file except Parquet is read in one pass: it is hashed while it is read, and the hash
/// is checked at its end. Memory is bounded by the longest row (64 MiB).
pub(super) struct RowReader<'manifest> {
    /// The current file and later files.
    files: std::iter::Enumerate<std::slice::Iter<'manifest, DataFile>>,
    bad_rows: BadRows,
    fields: Fields,
    all_fields: Vec<FieldPath>,
    current: Option<CurrentFile<'manifest>>,
    next_index: u64,
    read: RowsRead,
    buffer: Vec<u8>,
}

struct CurrentFile<'manifest> {
    file_index: usize,
    file: &'manifest DataFile,
    reader: FileReader,
    /// Lines or rows read so far.
    count: u64,
}

enum FileReader {
    Lines(DataReader),
    Json(DataReader, Elements),
    Csv(Box<CsvRows>),
    Text(DataReader),
    Parquet(Box<ParquetRows>),
    Arrow(Box<ArrowRows>),
}

/// A row's position, and its content or what is wrong with it. Reading can go on after it.
type ReadRow<'manifest> = (Place<'manifest>, Result<Content, LineProblem>);

impl<'manifest> RowReader<'manifest> {
    /// Checks that every file exists. Positions before the first row. `fields` are the fields that will be used.
    pub(super) fn open(manifest: &'manifest DataManifest, fields: Fields) -> Result<Self, DataError> {
        for file in &manifest.files {
            file.path.metadata().map_err(|source| DataError::file(&file.path, "find", source))?;
        }
        Ok(Self {
            files: manifest.files.iter().enumerate(),
            bad_rows: manifest.bad_rows,
            all_fields: fields.all(),
            fields,
            current: None,
            next_index: 0,
            read: RowsRead::default(),
            buffer: Vec::new(),
        })
    }

    /// Ends reading, early or not. The current file is hashed to its end. Later files are not opened and not returned.
    pub(super) fn finish(mut self) -> Result<RowsRead, DataError> {
        if let Some(current) = self.current.take() {
            self.read.files.push(current.finish()?);
        }
        Ok(self.read)
    }

    /// Returns the next row.
    pub(super) fn next(&mut self) -> Result<Option<Row<'manifest>>, DataError> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => match self.files.next() {
                    Some((index, file)) => self.current.insert(CurrentFile::open(index, file, &self.fields)?),
                    None => return Ok(None),
                },
            };
            match current.next(&self.all_fields, self.bad_rows, &mut self.buffer)? {
                Some((place, Ok(content))) => {
                    let index = self.next_index;
                    self.next_index += 1;
                    return Ok(Some(Row { index, content, place }));
                }
                Some(_) if self.bad_rows == BadRows::Skip => self.read.bad_rows += 1,
                Some((place, Err(problem))) => return Err(place.wrong(problem)),
                None => {
                    if let Some(finished) = self.current.take() {
                        self.read.files.push(finished.finish()?);
                    }
                }
            }
        }
    }
}

impl<'manifest> CurrentFile<'manifest> {
    fn open(file_index: usize, file: &'manifest DataFile, fields: &Fields) -> Result<Self, DataError> {
        let reader = match file.kind {
            FileKind::Lines => FileReader::Lines(DataReader::open(file)?),
            FileKind::Json => FileReader::Json(DataReader::open(file)?, Elements::default()),
            FileKind::Csv => FileReader::Csv(Box::new(CsvRows::open(file)?)),
            FileKind::Text => FileReader::Text(DataReader::open(file)?),
            FileKind::Parquet => FileReader::Parquet(Box::new(ParquetRows::open(file, fields)?)),
            FileKind::Arrow => FileReader::Arrow(Box::new(ArrowRows::open(file, fields)?)),
        };
        Ok(Self { file_index, file, reader, count: 0 })
    }

    fn finish(self) -> Result<FileRecord, DataError> {
        match self.reader {
            FileReader::Lines(reader) | FileReader::Json(reader, _) | FileReader::Text(reader) => {
                reader.finish(self.file)
            }
            FileReader::Csv(rows) => rows.finish(self.file),
            FileReader::Parquet(rows) => Ok(rows.record()),
            FileReader::Arrow(rows) => rows.finish(self.file),
        }
    }

    fn next(
        &mut self,
        fields: &[FieldPath],
        bad_rows: BadRows,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<ReadRow<'manifest>>, DataError> {
        let path: &Path = &self.file.path;
        let mut place = Place { file_index: self.file_index, file: self.file, number: self.count };
        let content = match &mut self.reader {
            FileReader::Lines(reader) => loop {
                place.number += 1;
                match read_line(reader, DOCUMENT_BYTES, buffer) {
                    Err(source) => return Err(reader.error(path, source)),
                    Ok(Ok(true)) if buffer.trim_ascii().is_empty() => {}
                    Ok(Ok(false)) => return Ok(None),
                    Ok(read) => {
                        self.count = place.number;
                        if read.is_err() && bad_rows == BadRows::Skip && buffer.last() != Some(&b'\n') {
                            skip_line(reader).map_err(|source| reader.error(path, source))?;
                        }
                        break read.and_then(|_| parse(buffer, fields)).map(Content::Fields);
                    }
                }
            },
            FileReader::Json(reader, elements) => {
                self.count += 1;
                match elements.next(reader, DOCUMENT_BYTES, buffer) {
                    Err(source) => return Err(reader.error(path, source)),
                    // After an error between objects, none can be found.
                    Ok(Err(problem)) => return Err(place.wrong(problem)),
                    Ok(Ok(false)) => return Ok(None),
                    Ok(Ok(true)) => parse(buffer, fields).map(Content::Fields),
                }
            }
            FileReader::Csv(rows) => match rows.next(path, fields)? {
                None => return Ok(None),
                Some((line, record)) => {
                    place.number = line;
                    record.map(Content::Fields)
                }
            },
            FileReader::Text(_) if self.count > 0 => return Ok(None),
            FileReader::Text(reader) => {
                self.count = 1;
                match read_text(reader, DOCUMENT_BYTES, buffer) {
                    Err(source) => return Err(reader.error(path, source)),
                    // As in Python, whichever system wrote the file.
                    Ok(read) => read.and_then(|()| utf8(buffer).map(|text| Content::Text(text.replace("\r\n", "\n")))),
                }
            }
            FileReader::Parquet(rows) => {
                self.count += 1;
                let Some(row) = rows.next()? else { return Ok(None) };
                row.map(Content::Fields)
            }
            FileReader::Arrow(rows) => {
                self.count += 1;
                let Some(row) = rows.next()? else { return Ok(None) };
                row.map(Content::Fields)
            }
        };
        Ok(Some((place, content)))
    }
}
