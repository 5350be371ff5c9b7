//! `tokens.parquet`: one row per token, in the order of the activations.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field};
use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::records::Counts;
use crate::format::section::Section;
use crate::format::tables::columns::{BATCH_ROWS, column, field, full_column, malformed, read_columns};
use crate::format::tables::sequences::Sequence;

/// The tokens of a shard, as columns of equal length, in storage order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Id of the token's sequence.
    pub sequence: Vec<u64>,
    /// Position within the sequence, from 0.
    pub position: Vec<u32>,
    /// Token id.
    pub token: Vec<u32>,
    /// Section of the token.
    pub section: Vec<Section>,
    /// Document of the token.
    pub document: Vec<u64>,
    /// Subset of that document.
    pub subset: Vec<Option<Arc<str>>>,
    /// Turn of the token in its conversation, from 0; empty without conversations of several turns.
    pub turn: Vec<u32>,
}

impl Tokens {
    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.token.len()
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
    }

    /// Checks that the columns have equal length and cover `sequences` position by position.
    pub(crate) fn check(&self, sequences: &[Sequence]) -> Result<(), String> {
        let lengths =
            [self.sequence.len(), self.position.len(), self.section.len(), self.document.len(), self.subset.len()];
        let turns = Some(self.turn.len()).filter(|turns| *turns > 0);
        if let Some(length) = lengths.into_iter().chain(turns).find(|length| *length != self.len()) {
            return Err(format!("columns of {length} and of {} rows", self.len()));
        }
        let mut rows = self.sequence.iter().zip(&self.position).enumerate();
        for sequence in sequences {
            for position in 0..sequence.length {
                match rows.next() {
                    Some((_, (id, at))) if (*id, *at) == (sequence.id, position) => {}
                    Some((row, (id, at))) => {
                        return Err(format!(
                            "row {row} is position {at} of sequence {id}, where position {position} of sequence {} is due",
                            sequence.id
                        ));
                    }
                    None => return Err(format!("{} rows, too few for the sequences", self.len())),
                }
            }
        }
        match rows.next() {
            Some((row, _)) => Err(format!("{} rows, where the sequences have {row}", self.len())),
            None => Ok(()),
        }
    }

    /// Counts these tokens, of `sequences` sequences, by section and subset.
    pub(crate) fn counts(&self, sequences: usize) -> Counts {
        let mut sections = BTreeMap::new();
        for section in &self.section {
            *sections.entry(*section).or_default() += 1;
        }
        let mut subsets: BTreeMap<&str, u64> = BTreeMap::new();
        for subset in self.subset.iter().flatten() {
            *subsets.entry(subset).or_default() += 1;
        }
        Counts {
            sequences: sequences as u64,
            tokens: self.len() as u64,
            sections,
            subsets: subsets.into_iter().map(|(name, tokens)| (name.to_owned(), tokens)).collect(),
        }
    }

    /// Returns the columns over a range of rows, in the order of [`Tokens::fields`].
    pub(crate) fn columns(&self, rows: Range<usize>) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(self.sequence[rows.clone()].iter().copied())),
            Arc::new(UInt32Array::from_iter_values(self.position[rows.clone()].iter().copied())),
            Arc::new(UInt32Array::from_iter_values(self.token[rows.clone()].iter().copied())),
            Arc::new(StringArray::from_iter_values(self.section[rows.clone()].iter().map(|it| it.as_str()))),
            Arc::new(UInt64Array::from_iter_values(self.document[rows.clone()].iter().copied())),
            Arc::new(self.subset[rows.clone()].iter().map(Option::as_deref).collect::<StringArray>()),
        ];
        if !self.turn.is_empty() {
            columns.push(Arc::new(UInt32Array::from_iter_values(self.turn[rows].iter().copied())));
        }
        columns
    }

    /// Returns the fields of the plan's columns.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields = vec![
            field("sequence", DataType::UInt64, false),
            field("position", DataType::UInt32, false),
            field("token", DataType::UInt32, false),
            field("section", DataType::Utf8, false),
            field("document", DataType::UInt64, false),
            field("subset", DataType::Utf8, true),
        ];
        if !self.turn.is_empty() {
            fields.push(field(TURN, DataType::UInt32, false));
        }
        fields
    }
}

/// The requirement of [`Tokens::check`].
pub(crate) const ORDER: &str = "a row for every position of every sequence, in order";
/// Columns with few distinct strings.
pub(crate) const REPETITIVE: [&str; 2] = ["section", "subset"];
const COLUMNS: [&str; 7] = ["sequence", "position", "token", "section", "document", "subset", TURN];
/// A column that not every table has.
const TURN: &str = "turn";

/// Returns the ranges of rows in which a table of `rows` rows is written.
pub(crate) fn batches(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(BATCH_ROWS).map(move |start| start..rows.min(start + BATCH_ROWS))
}

/// Reads the tokens of `sequences`, over `rows` rows, from the bytes of the file at `path`.
pub(crate) fn read(path: &Path, bytes: Bytes, rows: u64, sequences: &[Sequence]) -> Result<Tokens> {
    let mut tokens = Tokens::default();
    let mut subsets = Interner::default();
    read_columns(path, bytes, rows, &COLUMNS, |batch| append(path, batch, &mut tokens, &mut subsets))?;
    tokens.check(sequences).map_err(|got| malformed(path, ORDER, got))?;
    Ok(tokens)
}

fn append(path: &Path, batch: &RecordBatch, tokens: &mut Tokens, subsets: &mut Interner) -> Result<()> {
    tokens.sequence.extend_from_slice(full_column::<UInt64Array>(path, batch, "sequence")?.values());
    tokens.position.extend_from_slice(full_column::<UInt32Array>(path, batch, "position")?.values());
    tokens.token.extend_from_slice(full_column::<UInt32Array>(path, batch, "token")?.values());
    tokens.document.extend_from_slice(full_column::<UInt64Array>(path, batch, "document")?.values());
    if batch.column_by_name(TURN).is_some() {
        tokens.turn.extend_from_slice(full_column::<UInt32Array>(path, batch, TURN)?.values());
    }
    let section: &StringArray = full_column(path, batch, "section")?;
    let subset: &StringArray = column(path, batch, "subset")?;
    for row in 0..batch.num_rows() {
        let name = section.value(row);
        let parsed = name.parse().map_err(|error: StoreError| malformed(path, "known sections", error.to_string()))?;
        tokens.section.push(parsed);
        tokens.subset.push(subset.is_valid(row).then(|| subsets.shared(subset.value(row))));
    }
    Ok(())
}

#[derive(Default)]
struct Interner {
    names: BTreeSet<Arc<str>>,
}

impl Interner {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        self.names.insert(Arc::clone(&new));
        new
    }
}
