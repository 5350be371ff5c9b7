//! Documents, one after another, out of all files of a data manifest.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use hayloft_store::FileRecord;
use serde_json::Value;

use super::hashing::DataReader;
use super::lines::{DOCUMENT_BYTES, read_line, read_text, utf8};
use super::shuffle::ShuffleBuffer;
use super::{DataError, DataFile, DataManifest, FileKind, LineProblem};

/// A document with text in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its place among all documents of the data manifest's files, from 0. Empty ones have a place too.
    pub index: u64,
    /// Its text; never empty.
    pub text: String,
    /// The subset that it belongs to.
    pub subset: Option<Arc<str>>,
}

/// What was read, once reading is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesRead {
    /// The files that were opened, in order, each hashed to its end.
    pub files: Vec<FileRecord>,
    /// The documents without text, which were passed over.
    pub empty_documents: u64,
}

/// Reads the documents of a data manifest in order, or in its shuffled order, one at a time.
///
/// Memory is bounded by the longest document (64 MiB) and, when shuffling, by the buffer. Each file is read once: it is
/// hashed as it passes, and its hash is checked at its end.
pub struct DocumentReader<'manifest> {
    manifest: &'manifest DataManifest,
    /// The file being read, and those to come.
    files: std::slice::Iter<'manifest, DataFile>,
    current: Option<CurrentFile<'manifest>>,
    shuffle: Option<ShuffleBuffer<Document>>,
    subsets: HashSet<Arc<str>>,
    next_index: u64,
    read: FilesRead,
    buffer: Vec<u8>,
}

struct CurrentFile<'manifest> {
    file: &'manifest DataFile,
    reader: DataReader,
    /// Lines read so far.
    line: u64,
}

/// The Pile has 22 subsets. A field with thousands of values is an identifier.
const MOST_SUBSETS: usize = 1024;

impl<'manifest> DocumentReader<'manifest> {
    /// Makes sure that every file is there, and begins before the first document.
    pub fn open(manifest: &'manifest DataManifest) -> Result<Self, DataError> {
        for file in &manifest.files {
            file.path.metadata().map_err(|source| DataError::file(&file.path, "find", source))?;
        }
        Ok(Self {
            manifest,
            files: manifest.files.iter(),
            current: None,
            shuffle: manifest.shuffle.map(|shuffle| ShuffleBuffer::new(shuffle.seed, shuffle.buffer)),
            subsets: HashSet::new(),
            next_index: 0,
            read: FilesRead { files: Vec::new(), empty_documents: 0 },
            buffer: Vec::new(),
        })
    }

    /// Ends the reading, early or not. The file that was being read is hashed to its end; files after it are left alone
    /// and are not among those read.
    pub fn finish(mut self) -> Result<FilesRead, DataError> {
        if let Some(current) = self.current.take() {
            self.read.files.push(current.reader.finish(current.file)?);
        }
        Ok(self.read)
    }

    /// The next document in the order of the files.
    fn read_next(&mut self) -> Result<Option<Document>, DataError> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => match self.files.next() {
                    Some(file) => self.current.insert(CurrentFile { file, reader: DataReader::open(file)?, line: 0 }),
                    None => return Ok(None),
                },
            };
            if let Some(found) = current.next(self.manifest, &mut self.subsets, &mut self.buffer)? {
                let index = self.next_index;
                self.next_index += 1;
                match found.text {
                    Some(text) => return Ok(Some(Document { index, text, subset: found.subset })),
                    None => self.read.empty_documents += 1,
                }
            } else if let Some(finished) = self.current.take() {
                self.read.files.push(finished.reader.finish(finished.file)?);
            }
        }
    }
}

impl Iterator for DocumentReader<'_> {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match (self.read_next().transpose(), &mut self.shuffle) {
                (Some(Ok(document)), Some(shuffle)) => {
                    if let Some(released) = shuffle.exchange(document) {
                        return Some(Ok(released));
                    }
                }
                (None, Some(shuffle)) => return shuffle.drain().map(Ok),
                (read, _) => return read,
            }
        }
    }
}

/// What stands where a document should be.
struct Found {
    /// `None` where the text is empty.
    text: Option<String>,
    subset: Option<Arc<str>>,
}

impl CurrentFile<'_> {
    fn next(
        &mut self,
        manifest: &DataManifest,
        subsets: &mut HashSet<Arc<str>>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Found>, DataError> {
        match self.file.kind {
            FileKind::Lines { .. } => self.next_line(manifest, subsets, buffer),
            FileKind::Text { .. } => self.whole_text(buffer),
        }
    }

    fn next_line(
        &mut self,
        manifest: &DataManifest,
        subsets: &mut HashSet<Arc<str>>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Found>, DataError> {
        let path: &Path = &self.file.path;
        loop {
            self.line += 1;
            let line = self.line;
            let wrong = |problem| DataError::Line { path: path.to_owned(), line, problem };
            let more = match read_line(&mut self.reader, DOCUMENT_BYTES, buffer) {
                Ok(read) => read.map_err(wrong)?,
                Err(source) => return Err(self.reader.error(path, source)),
            };
            if !more {
                return Ok(None);
            }
            let text = utf8(buffer).map_err(wrong)?;
            if !text.trim_ascii().is_empty() {
                return parse_line(text, manifest, subsets).map(Some).map_err(wrong);
            }
        }
    }

    /// The whole file, the first time.
    fn whole_text(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Found>, DataError> {
        if self.line > 0 {
            return Ok(None);
        }
        self.line = 1;
        let path: &Path = &self.file.path;
        let wrong = |problem| DataError::Text { path: path.to_owned(), problem };
        match read_text(&mut self.reader, DOCUMENT_BYTES, buffer) {
            Ok(read) => read.map_err(wrong)?,
            Err(source) => return Err(self.reader.error(path, source)),
        }
        let text = utf8(buffer).map_err(wrong)?;
        Ok(Some(Found { text: (!text.is_empty()).then(|| text.to_owned()), subset: None }))
    }
}

/// Takes text and subset out of one line of JSON.
fn parse_line(line: &str, manifest: &DataManifest, subsets: &mut HashSet<Arc<str>>) -> Result<Found, LineProblem> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        // The parser counts lines within the one that it was given.
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default().to_owned();
        LineProblem::NotJson { column: error.column(), reason }
    })?;
    let text = manifest.text_field.text(&value, "text_field")?;
    let subset = match &manifest.subset_field {
        Some(field) => field.text(&value, "subset_field")?,
        None => None,
    };
    let subset = match subset {
        Some(name) => Some(intern(name, manifest, subsets)?),
        None => None,
    };
    Ok(Found { text: text.filter(|text| !text.is_empty()).map(str::to_owned), subset })
}

/// One shared copy of each subset's name.
fn intern(name: &str, manifest: &DataManifest, subsets: &mut HashSet<Arc<str>>) -> Result<Arc<str>, LineProblem> {
    if let Some(known) = subsets.get(name) {
        return Ok(Arc::clone(known));
    }
    if subsets.len() == MOST_SUBSETS {
        let field = manifest.subset_field.as_ref().map(ToString::to_string).unwrap_or_default();
        return Err(LineProblem::TooManySubsets { field, limit: MOST_SUBSETS });
    }
    let name: Arc<str> = name.into();
    subsets.insert(Arc::clone(&name));
    Ok(name)
}
