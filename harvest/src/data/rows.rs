//! Rows, one after another, out of all files of a data manifest.

use std::path::Path;

use hayloft_store::FileRecord;
use serde_json::Value;

use super::elements::Elements;
use super::hashing::DataReader;
use super::lines::{DOCUMENT_BYTES, read_line, read_text, utf8};
use super::parquet_rows::ParquetRows;
use super::{DataError, DataFile, FieldPath, FileKind, LineProblem};

/// A row: what one document or one conversation is made from.
pub(super) struct Row<'manifest> {
    /// Its place among all rows of the data manifest's files, from 0.
    pub(super) index: u64,
    pub(super) content: Content,
    place: Place<'manifest>,
}

/// What a row holds.
pub(super) enum Content {
    /// An object's fields.
    Fields(Value),
    /// A whole text file.
    Text(String),
}

/// Where a row lies, for messages.
#[derive(Clone, Copy)]
struct Place<'manifest> {
    /// The file's place in the data manifest.
    file_index: usize,
    file: &'manifest DataFile,
    /// The line from 1, or the row within the file from 0.
    number: u64,
}

impl Row<'_> {
    /// An error about this row.
    pub(super) fn wrong(&self, problem: LineProblem) -> DataError {
        self.place.wrong(problem)
    }

    /// The place of its file in the data manifest.
    pub(super) fn file_index(&self) -> usize {
        self.place.file_index
    }

    /// The text of one of its fields; of a text file, which has none, all of it. `key` is the data manifest's that names
    /// the field.
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
            FileKind::Lines { .. } => DataError::Line { path, line: self.number, problem },
            FileKind::Json { .. } | FileKind::Parquet => DataError::Row { path, row: self.number, problem },
            FileKind::Text { .. } => DataError::Text { path, problem },
        }
    }
}

/// Reads rows in the order of the files. Each file but Parquet is read once: it is hashed as it passes, and its hash is
/// checked at its end. Memory is bounded by the longest row (64 MiB).
pub(super) struct RowReader<'manifest> {
    /// The file being read, and those to come.
    files: std::iter::Enumerate<std::slice::Iter<'manifest, DataFile>>,
    /// The fields that are looked at.
    fields: Vec<FieldPath>,
    current: Option<CurrentFile<'manifest>>,
    next_index: u64,
    read: Vec<FileRecord>,
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
    Text(DataReader),
    Parquet(Box<ParquetRows>),
}

impl<'manifest> RowReader<'manifest> {
    /// Makes sure that every file is there, and begins before the first row. `fields` are those that will be looked at.
    pub(super) fn open(files: &'manifest [DataFile], fields: Vec<FieldPath>) -> Result<Self, DataError> {
        for file in files {
            file.path.metadata().map_err(|source| DataError::file(&file.path, "find", source))?;
        }
        let files = files.iter().enumerate();
        Ok(Self { files, fields, current: None, next_index: 0, read: Vec::new(), buffer: Vec::new() })
    }

    /// Ends the reading, early or not. The file that was being read is hashed to its end; files after it are left alone
    /// and are not among those read.
    pub(super) fn finish(mut self) -> Result<Vec<FileRecord>, DataError> {
        if let Some(current) = self.current.take() {
            self.read.push(current.finish()?);
        }
        Ok(self.read)
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<Row<'manifest>>, DataError> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => match self.files.next() {
                    Some((index, file)) => self.current.insert(CurrentFile::open(index, file, &self.fields)?),
                    None => return Ok(None),
                },
            };
            if let Some((place, content)) = current.next(&mut self.buffer)? {
                let index = self.next_index;
                self.next_index += 1;
                return Ok(Some(Row { index, content, place }));
            }
            if let Some(finished) = self.current.take() {
                self.read.push(finished.finish()?);
            }
        }
    }
}

impl<'manifest> CurrentFile<'manifest> {
    fn open(file_index: usize, file: &'manifest DataFile, fields: &[FieldPath]) -> Result<Self, DataError> {
        let reader = match file.kind {
            FileKind::Lines { .. } => FileReader::Lines(DataReader::open(file)?),
            FileKind::Json { .. } => FileReader::Json(DataReader::open(file)?, Elements::default()),
            FileKind::Text { .. } => FileReader::Text(DataReader::open(file)?),
            FileKind::Parquet => FileReader::Parquet(Box::new(ParquetRows::open(file, fields)?)),
        };
        Ok(Self { file_index, file, reader, count: 0 })
    }

    fn finish(self) -> Result<FileRecord, DataError> {
        match self.reader {
            FileReader::Lines(reader) | FileReader::Json(reader, _) | FileReader::Text(reader) => {
                reader.finish(self.file)
            }
            FileReader::Parquet(rows) => Ok(rows.record()),
        }
    }

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<(Place<'manifest>, Content)>, DataError> {
        let path: &Path = &self.file.path;
        let mut place = Place { file_index: self.file_index, file: self.file, number: self.count };
        let read = match &mut self.reader {
            FileReader::Lines(reader) => loop {
                place.number += 1;
                match read_line(reader, DOCUMENT_BYTES, buffer) {
                    Err(source) => return Err(reader.error(path, source)),
                    Ok(Ok(true)) if buffer.trim_ascii().is_empty() => {}
                    Ok(read) => {
                        self.count = place.number;
                        break read;
                    }
                }
            },
            FileReader::Json(reader, elements) => {
                self.count += 1;
                match elements.next(reader, DOCUMENT_BYTES, buffer) {
                    Err(source) => return Err(reader.error(path, source)),
                    Ok(read) => read,
                }
            }
            FileReader::Text(_) if self.count > 0 => return Ok(None),
            FileReader::Text(reader) => {
                self.count = 1;
                match read_text(reader, DOCUMENT_BYTES, buffer) {
                    Err(source) => return Err(reader.error(path, source)),
                    Ok(read) => read.map_err(|problem| place.wrong(problem))?,
                }
                let text = utf8(buffer).map_err(|problem| place.wrong(problem))?;
                return Ok(Some((place, Content::Text(text.to_owned()))));
            }
            FileReader::Parquet(rows) => {
                self.count += 1;
                let Some(row) = rows.next()? else { return Ok(None) };
                return Ok(Some((place, Content::Fields(row.map_err(|problem| place.wrong(problem))?))));
            }
        };
        if !read.map_err(|problem| place.wrong(problem))? {
            return Ok(None);
        }
        let fields = utf8(buffer).and_then(parse).map_err(|problem| place.wrong(problem))?;
        Ok(Some((place, Content::Fields(fields))))
    }
}

fn parse(text: &str) -> Result<Value, LineProblem> {
    serde_json::from_str(text).map_err(|error| {
        // The parser counts lines within the text that it was given.
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default().to_owned();
        LineProblem::NotJson { column: error.column(), reason }
    })
}
