//! `sequences.parquet`: one row per sequence, in storage order.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, StringArray, UInt32Array, UInt64Array};
use arrow_schema::DataType;
use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::tables::columns::{
    BATCH_ROWS, MOST_TEXT_BYTES, TableWriter, column, field, full_column, malformed, read_columns,
};

/// A sequence: the input of one forward pass, from position 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Number in the plan, unique over all shards.
    pub id: u64,
    /// The document of the first token.
    pub document: u64,
    /// The subset of that document.
    pub subset: Option<String>,
    /// The row of the first token within the shard.
    pub first_row: u64,
    /// Number of tokens.
    pub length: u32,
    /// The row group within the shard that holds all rows of the sequence.
    pub row_group: u32,
}

/// Returns the number of rows of each row group of a shard with these sequences.
pub fn row_group_rows(sequences: &[Sequence]) -> Vec<u64> {
    let mut rows = Vec::new();
    for sequence in sequences {
        rows.resize(sequence.row_group as usize + 1, 0);
        rows[sequence.row_group as usize] += u64::from(sequence.length);
    }
    rows
}

/// Checks that sequences are contiguous and that row groups are numbered contiguously from 0.
///
/// Returns the total number of rows.
pub(crate) fn check_layout(sequences: &[Sequence]) -> Result<u64, String> {
    let mut next_row = 0_u64;
    let mut row_group = 0;
    for (index, sequence) in sequences.iter().enumerate() {
        if sequence.first_row != next_row || sequence.length == 0 {
            return Err(format!(
                "sequence {} starts at row {} and has {} tokens, after rows up to {next_row}",
                sequence.id, sequence.first_row, sequence.length
            ));
        }
        let follows = if index == 0 { 0..=0 } else { row_group..=row_group + 1 };
        if !follows.contains(&u64::from(sequence.row_group)) {
            return Err(format!("sequence {} in row group {}, after {row_group}", sequence.id, sequence.row_group));
        }
        row_group = u64::from(sequence.row_group);
        next_row = next_row.checked_add(u64::from(sequence.length)).ok_or("more rows than can be counted")?;
    }
    Ok(next_row)
}

/// Bound on the total bytes of all subset names: a constant, plus an allowance for each byte of the file.
const MOST_TEXT: usize = 16 << 20;
const MOST_TEXT_RATIO: usize = 1 << 10;

const LAYOUT: &str = "sequences of at least one token, one after another, in row groups numbered from 0 without gaps";
const COLUMNS: [&str; 6] = ["sequence", "document", "subset", "first_row", "length", "row_group"];

pub(crate) fn write<W: Write + Send>(path: &Path, sink: &mut W, sequences: &[Sequence]) -> Result<()> {
    check_layout(sequences).map_err(|got| StoreError::invalid("sequences", LAYOUT, got))?;
    let longest = sequences.iter().filter_map(|sequence| sequence.subset.as_deref()).map(str::len).max();
    if longest.is_some_and(|longest| longest > MOST_TEXT_BYTES) {
        let got = format!("one of {}", longest.unwrap_or_default());
        return Err(StoreError::invalid("a subset's name", format!("at most {MOST_TEXT_BYTES} bytes"), got));
    }
    let fields = vec![
        field("sequence", DataType::UInt64, false),
        field("document", DataType::UInt64, false),
        field("subset", DataType::Utf8, true),
        field("first_row", DataType::UInt64, false),
        field("length", DataType::UInt32, false),
        field("row_group", DataType::UInt32, false),
    ];
    let mut table = TableWriter::new(path, sink, fields, &["subset"])?;
    for batch in sequences.chunks(BATCH_ROWS) {
        table.write(
            path,
            vec![
                Arc::new(UInt64Array::from_iter_values(batch.iter().map(|sequence| sequence.id))),
                Arc::new(UInt64Array::from_iter_values(batch.iter().map(|sequence| sequence.document))),
                Arc::new(batch.iter().map(|sequence| sequence.subset.as_deref()).collect::<StringArray>()),
                Arc::new(UInt64Array::from_iter_values(batch.iter().map(|sequence| sequence.first_row))),
                Arc::new(UInt32Array::from_iter_values(batch.iter().map(|sequence| sequence.length))),
                Arc::new(UInt32Array::from_iter_values(batch.iter().map(|sequence| sequence.row_group))),
            ],
        )?;
    }
    table.finish(path)
}

/// Reads the table of `count` sequences over `rows` rows from the bytes of the file at `path`.
pub(crate) fn read(path: &Path, bytes: Bytes, count: u64, rows: u64) -> Result<Vec<Sequence>> {
    let mut sequences = Vec::new();
    // Any number of sequences can refer to one dictionary entry, and each gets a copy.
    let mut text_left = MOST_TEXT.saturating_add(bytes.len().saturating_mul(MOST_TEXT_RATIO));
    read_columns(path, bytes, count, &COLUMNS, |batch| {
        let id: &UInt64Array = full_column(path, batch, "sequence")?;
        let document: &UInt64Array = full_column(path, batch, "document")?;
        let subset: &StringArray = column(path, batch, "subset")?;
        let first_row: &UInt64Array = full_column(path, batch, "first_row")?;
        let length: &UInt32Array = full_column(path, batch, "length")?;
        let row_group: &UInt32Array = full_column(path, batch, "row_group")?;
        let text = (0..batch.num_rows()).filter(|row| subset.is_valid(*row)).map(|row| subset.value(row).len()).sum();
        text_left = text_left
            .checked_sub(text)
            .ok_or_else(|| malformed(path, "names of subsets that fit the file", "longer ones in every row"))?;
        sequences.extend((0..batch.num_rows()).map(|row| Sequence {
            id: id.value(row),
            document: document.value(row),
            subset: subset.is_valid(row).then(|| subset.value(row).to_owned()),
            first_row: first_row.value(row),
            length: length.value(row),
            row_group: row_group.value(row),
        }));
        Ok(())
    })?;
    match check_layout(&sequences) {
        Ok(got) if got == rows => Ok(sequences),
        Ok(got) => Err(malformed(path, &format!("sequences over {rows} rows"), format!("{got} rows"))),
        Err(got) => Err(malformed(path, LAYOUT, got)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(id: u64, first_row: u64, length: u32, row_group: u32) -> Sequence {
        let subset = id.is_multiple_of(2).then(|| "Wikipedia (en)".to_owned());
        Sequence { id, document: id + 10, subset, first_row, length, row_group }
    }

    #[test]
    fn a_table_reads_back() {
        let sequences = [sequence(4, 0, 7, 0), sequence(5, 7, 6, 0), sequence(9, 13, 1, 1)];
        let mut bytes = Vec::new();
        write(Path::new("a"), &mut bytes, &sequences).unwrap();
        assert_eq!(read(Path::new("a"), bytes.clone().into(), 3, 14).unwrap(), sequences);
        assert_eq!(row_group_rows(&sequences), [13, 1]);
        assert!(read(Path::new("a"), bytes.clone().into(), 4, 14).is_err());
        assert!(read(Path::new("a"), bytes.into(), 3, 15).is_err());
    }

    #[test]
    fn names_that_are_no_names_are_refused_by_the_writer() {
        let long = Sequence { subset: Some("a".repeat(MOST_TEXT_BYTES + 1)), ..sequence(0, 0, 7, 0) };
        let error = write(Path::new("a"), &mut Vec::new(), &[long]).unwrap_err();
        assert!(error.to_string().contains("expected at most 4096 bytes, got one of 4097"), "{error}");
    }

    #[test]
    fn gaps_and_empty_sequences_are_refused() {
        for wrong in [
            vec![sequence(0, 1, 7, 0)],
            vec![sequence(0, 0, 7, 1)],
            vec![sequence(0, 0, 0, 0)],
            vec![sequence(0, 0, 7, 0), sequence(1, 8, 7, 0)],
            vec![sequence(0, 0, 7, 0), sequence(1, 7, 7, 2)],
            vec![sequence(0, 0, 7, 0), sequence(1, 7, 7, 1), sequence(2, 14, 7, 0)],
        ] {
            let error = write(Path::new("a"), &mut Vec::new(), &wrong).unwrap_err();
            assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
        }
    }
}
