//! Documents, one after another, out of all files of a data manifest.

use std::collections::HashSet;
use std::sync::Arc;

use hayloft_store::FileRecord;

use super::rows::{Content, Row};
use super::selection::SelectedRows;
use super::shuffle::ShuffleBuffer;
use super::{DataError, DataManifest, FieldPath, LineProblem};

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

/// Reads the selected documents of a data manifest in order, or in its shuffled order, one at a time.
///
/// Memory is bounded by the longest document (64 MiB) and, when shuffling, by the buffer; a selection in an order of its own
/// is held in memory. Files are hashed as they are read, and their hashes checked.
pub struct DocumentReader<'manifest> {
    manifest: &'manifest DataManifest,
    rows: SelectedRows<'manifest>,
    shuffle: Option<ShuffleBuffer<Document>>,
    subsets: SubsetNames,
    empty_documents: u64,
}

impl<'manifest> DocumentReader<'manifest> {
    /// Makes sure that every file is there, and begins before the first document.
    pub fn open(manifest: &'manifest DataManifest) -> Result<Self, DataError> {
        let fields = [Some(&manifest.text_field), manifest.subset_field.as_ref()].into_iter().flatten().cloned();
        Ok(Self {
            manifest,
            rows: SelectedRows::open(manifest, fields.collect())?,
            shuffle: manifest.shuffle.map(|shuffle| ShuffleBuffer::new(shuffle.seed, shuffle.buffer)),
            subsets: SubsetNames::default(),
            empty_documents: 0,
        })
    }

    /// Ends the reading, early or not. The file that was being read is hashed to its end; files after it are left alone
    /// and are not among those read.
    pub fn finish(self) -> Result<FilesRead, DataError> {
        Ok(FilesRead { files: self.rows.finish()?, empty_documents: self.empty_documents })
    }

    /// The next document in the order of the selection.
    fn read_next(&mut self) -> Result<Option<Document>, DataError> {
        while let Some(row) = self.rows.next()? {
            let subset = self.subsets.of(&row, self.manifest.subset_field.as_ref())?;
            let text = row.text(&self.manifest.text_field, "text_field")?;
            if text.is_some_and(|text| !text.is_empty()) {
                let index = row.index;
                let text = match row.content {
                    Content::Text(text) => text,
                    Content::Fields(_) => text.unwrap_or_default().to_owned(),
                };
                return Ok(Some(Document { index, text, subset }));
            }
            self.empty_documents += 1;
        }
        Ok(None)
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

/// One shared copy of each subset's name.
#[derive(Default)]
pub(super) struct SubsetNames {
    names: HashSet<Arc<str>>,
}

/// The most bytes of a subset's name, which the store takes.
const SUBSET_BYTES: usize = 4096;

/// The Pile has 22 subsets. A field with thousands of values is an identifier.
const MOST_SUBSETS: usize = 1024;

impl SubsetNames {
    /// The subset of a row, which lies in `field`; a text file is in none.
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
