//! The layout of an activation file, and its encoding in the schema and footer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hayloft_runtime::Dtype;
use parquet::basic::{Compression, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use crate::FORMAT_VERSION;
use crate::codec::Codec;
use crate::codec::encoded::{Column, block_rows};
use crate::error::{Result, StoreError};
use crate::format::site::SiteName;

/// The parameters that determine the columns of an activation file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) site: SiteName,
    pub(crate) dtype: Dtype,
    pub(crate) codec: Codec,
    pub(crate) d_model: usize,
}

const FORMAT_KEY: &str = "hayloft.format";
const BLOCK_ROWS_KEY: &str = "hayloft.block_rows";
const XXH3_KEY: &str = "hayloft.xxh3";

const XXH3_DIGITS: usize = 16;

/// The checksums in a footer.
#[derive(Debug)]
pub(crate) struct Checksums {
    /// Rows of a block.
    pub(crate) block_rows: usize,
    /// XXH3-64 of the decoded bytes, by row group, column and block.
    pub(crate) row_groups: Vec<Vec<Vec<u64>>>,
}

impl Layout {
    pub(crate) fn read_dtype(&self) -> Dtype {
        self.codec.read_dtype(self.dtype)
    }

    /// Returns the bytes of a row as written.
    pub(crate) fn row_bytes(&self) -> usize {
        self.d_model * self.dtype.bytes()
    }

    /// Returns the bytes of a row as decoded.
    pub(crate) fn read_row_bytes(&self) -> usize {
        self.d_model * self.read_dtype().bytes()
    }

    pub(crate) fn columns(&self) -> Vec<Column> {
        self.codec.columns(self.dtype, self.d_model)
    }

    pub(crate) fn schema(&self) -> Result<SchemaDescPtr, ParquetError> {
        let fields = self.columns().into_iter().map(|column| {
            Type::primitive_type_builder(column.name, PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_repetition(Repetition::REQUIRED)
                .with_length(i32::try_from(column.width).unwrap_or(i32::MAX))
                .build()
                .map(Arc::new)
        });
        let root = Type::group_type_builder("schema").with_fields(fields.collect::<Result<_, _>>()?).build()?;
        Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
    }

    /// Returns the compression recorded for a column's chunks.
    pub(crate) fn compression(column: Column) -> Result<Compression, ParquetError> {
        // The level is not stored, and readers do not need it.
        Ok(if column.compressed { Compression::ZSTD(ZstdLevel::try_new(1)?) } else { Compression::UNCOMPRESSED })
    }

    /// Returns the key-value pairs that the layout determines.
    fn facts(&self) -> [(&'static str, String); 5] {
        [
            (FORMAT_KEY, FORMAT_VERSION.to_string()),
            ("hayloft.site", self.site.to_string()),
            ("hayloft.dtype", self.dtype.to_string()),
            ("hayloft.codec", self.codec.to_string()),
            ("hayloft.d_model", self.d_model.to_string()),
        ]
    }

    /// Returns the footer's key-value pairs. `checksums` has the XXH3-64 by row group, column and block.
    pub(crate) fn key_values(&self, checksums: &[Vec<Vec<u64>>]) -> Vec<KeyValue> {
        let digits = |blocks: &Vec<u64>| blocks.iter().map(|xxh3| format!("{xxh3:016x}")).collect::<Vec<_>>().concat();
        let row_groups: Vec<BTreeMap<&str, String>> = checksums
            .iter()
            .map(|columns| {
                let names = self.columns().into_iter().map(|column| column.name);
                names.zip(columns.iter().map(digits)).collect()
            })
            .collect();
        let others = [
            (BLOCK_ROWS_KEY, block_rows(self.d_model).to_string()),
            (XXH3_KEY, serde_json::json!(row_groups).to_string()),
        ];
        self.facts().into_iter().chain(others).map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
    }

    /// Checks the footer's key-value pairs against the layout and returns the checksums. `rows` has the size of each
    /// row group.
    pub(crate) fn read_key_values(
        &self,
        path: &Path,
        pairs: Option<&Vec<KeyValue>>,
        rows: &[u64],
    ) -> Result<Checksums> {
        let malformed = |key: &str, expected: String, got: Option<&str>| StoreError::Malformed {
            path: path.to_owned(),
            expected: format!("{key} to be {expected} in its footer"),
            got: got.map_or_else(|| "none".to_owned(), |got| format!("`{}`", got.chars().take(80).collect::<String>())),
        };
        let value = |key| {
            let mut pairs = pairs.into_iter().flatten();
            pairs.find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref())
        };
        for (key, expected) in self.facts() {
            if value(key) != Some(&expected) {
                return Err(malformed(key, expected, value(key)));
            }
        }
        let block_rows = value(BLOCK_ROWS_KEY).and_then(|rows| rows.parse().ok()).filter(|rows| *rows > 0);
        let block_rows =
            block_rows.ok_or_else(|| malformed(BLOCK_ROWS_KEY, "1 or more".to_owned(), value(BLOCK_ROWS_KEY)))?;
        let row_groups = value(XXH3_KEY).and_then(|text| self.parse_checksums(text, rows, block_rows));
        let row_groups = row_groups.ok_or_else(|| {
            let expected = format!("a checksum of each column in each block of {} row groups", rows.len());
            malformed(XXH3_KEY, expected, value(XXH3_KEY))
        })?;
        Ok(Checksums { block_rows, row_groups })
    }

    fn parse_checksums(&self, text: &str, rows: &[u64], block_rows: usize) -> Option<Vec<Vec<Vec<u64>>>> {
        let parsed: Vec<BTreeMap<String, String>> = serde_json::from_str(text).ok()?;
        if parsed.len() != rows.len() {
            return None;
        }
        let columns = self.columns();
        let of_row_group = |(names, rows): (&BTreeMap<String, String>, &u64)| {
            let blocks = usize::try_from(*rows).ok()?.div_ceil(block_rows);
            columns.iter().map(|column| parse_digits(names.get(column.name)?, blocks)).collect()
        };
        parsed.iter().zip(rows).map(of_row_group).collect()
    }
}

/// Parses the concatenated checksums of `blocks` blocks.
fn parse_digits(text: &str, blocks: usize) -> Option<Vec<u64>> {
    let (digits, rest) = text.as_bytes().as_chunks::<XXH3_DIGITS>();
    if digits.len() != blocks || !rest.is_empty() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    digits.iter().map(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).collect()
}
