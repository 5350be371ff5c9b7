//! Reads the documents of a data manifest.

use std::collections::HashSet;
use std::sync::Arc;

use hayloft_store::FileRecord;

use super::fields::Fields;
use super::rows::{Content, Row};
use super::selection::SelectedRows;
use super::shuffle::ShuffleBuffer;
use super::token_rows::{mask_field, token_ids};
use super::{BadRows, DataError, DataManifest, FieldPath, LineProblem};

/// A document with text or token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The document's index among all documents of the data manifest's files, from 0. Empty documents are counted.
    pub index: u64,
    /// Its text; empty if the data manifest names a field of token ids.
    pub text: String,
    /// Its token ids, if the data manifest names a field of them; never empty.
    pub tokens: Option<Vec<u32>>,
    /// The document's subset.
    pub subset: Option<Arc<str>>,
}

/// The result of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesRead {
    /// The files opened, in order, each hashed to its end.
    pub files: Vec<FileRecord>,
    /// Documents skipped because they have no text.
    pub empty_documents: u64,
    /// Rows skipped because they cannot be used.
    pub bad_rows: u64,
}

/// Reads the selected documents of a data manifest one at a time, in order or shuffled.
///
/// Memory is bounded by the longest document (64 MiB) and, when shuffling, by the buffer. A selection with its own
/// order is held in memory. Files are hashed while they are read, and the hashes are checked.
pub struct DocumentReader<'manifest> {
    manifest: &'manifest DataManifest,
    rows: SelectedRows<'manifest>,
    shuffle: Option<ShuffleBuffer<Document>>,
    subsets: SubsetNames,
    empty_documents: u64,
    bad_rows: u64,
}

impl<'manifest> DocumentReader<'manifest> {
    /// Checks that every file exists. Positions before the first document.
    pub fn open(manifest: &'manifest DataManifest) -> Result<Self, DataError> {
        let content = manifest.tokens_field.as_ref().unwrap_or(&manifest.text_field);
        let fields = Fields {
            required: [Some(content), manifest.subset_field.as_ref()].into_iter().flatten().cloned().collect(),
            optional: manifest.tokens_field.as_ref().map(mask_field).into_iter().collect(),
        };
        Ok(Self {
            manifest,
            rows: SelectedRows::open(manifest, fields)?,
            shuffle: manifest.shuffle.map(|shuffle| ShuffleBuffer::new(shuffle.seed, shuffle.buffer)),
            subsets: SubsetNames::default(),
            empty_documents: 0,
            bad_rows: 0,
        })
    }

    /// Ends reading, early or not. The current file is hashed to its end. Later files are not opened and not returned.
    pub fn finish(self) -> Result<FilesRead, DataError> {
        let read = self.rows.finish()?;
        let bad_rows = self.bad_rows + read.bad_rows;
        Ok(FilesRead { files: read.files, empty_documents: self.empty_documents, bad_rows })
    }

    /// Returns the next document in the order of the selection.
    fn read_next(&mut self) -> Result<Option<Document>, DataError> {
        while let Some(row) = self.rows.next()? {
            match self.document(&row) {
                Ok(Some(document)) => return Ok(Some(document)),
                Ok(None) => self.empty_documents += 1,
                Err(error) if self.manifest.bad_rows == BadRows::Skip && error.is_of_a_row() => self.bad_rows += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Returns the document of a row; `None` if it is empty.
    fn document(&mut self, row: &Row<'_>) -> Result<Option<Document>, DataError> {
        let index = row.index;
        let subset = self.subsets.of(row, self.manifest.subset_field.as_ref())?;
        if let Some(field) = &self.manifest.tokens_field {
            let tokens = token_ids(row, field)?;
            return Ok((!tokens.is_empty()).then(|| Document {
                index,
                text: String::new(),
                tokens: Some(tokens),
                subset,
            }));
        }
        let text = row.text(&self.manifest.text_field, "text_field")?.filter(|text| !text.is_empty());
        let Some(text) = text.map(str::to_owned) else { return Ok(None) };
        Ok(Some(Document { index, text, tokens: None, subset }))
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

/// Interned subset names.
#[derive(Default)]
pub(super) struct SubsetNames {
    names: HashSet<Arc<str>>,
}

/// Size limit of a subset's name, as in the store.
const SUBSET_BYTES: usize = 4096;

/// The Pile has 22 subsets. A field with thousands of values is an identifier.
const MOST_SUBSETS: usize = 1024;

impl SubsetNames {
    /// Returns the subset of a row, from `field`. A text file has none.
    pub(super) fn of(&mut self, row: &Row<'_>, field: Option<&FieldPath>) -> Result<Option<Arc<str>>, DataError> {
        let (Some(field), Content::Fields(_)) = (field, &row.content) else { return Ok(None) };
        let Some(name) = row.text(field, "subset_field")? else { return Ok(None) };
        if let Some(known) = self.names.get(name) {
            return Ok(Some(Arc::clone(known)));
        }
        if name.len() > SUBSET_BYTES {
            return Err(row.wrong(LineProblem::LongSubset { field: field.to_string(), limit: SUBSET_BYTES }));
        }
        if self.names.len() == MOST_SUBSETS {
            return Err(row.wrong(LineProblem::TooManySubsets { field: field.to_string(), limit: MOST_SUBSETS }));
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        Ok(Some(name))
    }
}
