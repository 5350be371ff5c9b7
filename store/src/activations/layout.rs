//! What an activation file holds, and how that is said in its schema and footer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};

use crate::FORMAT_VERSION;
use crate::codec::{Codec, Column};
use crate::dtype::Dtype;
use crate::error::{Result, StoreError};
use crate::site_name::SiteName;

/// What decides an activation file's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) site: SiteName,
    pub(crate) dtype: Dtype,
    pub(crate) codec: Codec,
    pub(crate) d_model: usize,
}

const XXH3_KEY: &str = "hayloft.xxh3";

impl Layout {
    /// Bytes of one row's words.
    pub(crate) fn row_bytes(&self) -> usize {
        self.d_model * self.dtype.bytes()
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

    /// The compression that a column's chunks are marked with.
    pub(crate) fn compression(column: Column) -> Result<Compression, ParquetError> {
        Ok(if column.compressed { Compression::ZSTD(ZstdLevel::try_new(1)?) } else { Compression::UNCOMPRESSED })
    }

    fn facts(&self) -> [(&'static str, String); 5] {
        [
            ("hayloft.format", FORMAT_VERSION.to_string()),
            ("hayloft.site", self.site.to_string()),
            ("hayloft.dtype", self.dtype.to_string()),
            ("hayloft.codec", self.codec.to_string()),
            ("hayloft.d_model", self.d_model.to_string()),
        ]
    }

    /// The footer's key-value pairs. `checksums` has, for each row group, the XXH3-64 of each column.
    pub(crate) fn key_values(&self, checksums: &[Vec<u64>]) -> Vec<KeyValue> {
        let row_groups: Vec<BTreeMap<&str, String>> = checksums
            .iter()
            .map(|columns| {
                let names = self.columns().into_iter().map(|column| column.name);
                names.zip(columns.iter().map(|checksum| format!("{checksum:016x}"))).collect()
            })
            .collect();
        let pairs = self.facts().into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let checksums = serde_json::json!(row_groups).to_string();
        pairs.chain([KeyValue::new(XXH3_KEY.to_owned(), checksums)]).collect()
    }

    /// Checks a footer's key-value pairs against what is expected, and takes the checksums of `row_groups` row groups
    /// from them: for each, the XXH3-64 of each column.
    pub(crate) fn read_key_values(
        &self,
        path: &Path,
        pairs: Option<&Vec<KeyValue>>,
        row_groups: usize,
    ) -> Result<Vec<Vec<u64>>> {
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
        let checksums = value(XXH3_KEY).and_then(|text| self.parse_checksums(text, row_groups));
        checksums.ok_or_else(|| {
            let expected = format!("a checksum of each column in each of {row_groups} row groups");
            malformed(XXH3_KEY, expected, value(XXH3_KEY))
        })
    }

    fn parse_checksums(&self, text: &str, row_groups: usize) -> Option<Vec<Vec<u64>>> {
        let parsed: Vec<BTreeMap<String, String>> = serde_json::from_str(text).ok()?;
        if parsed.len() != row_groups {
            return None;
        }
        let columns = self.columns();
        let of_column =
            |names: &BTreeMap<String, String>, column: &Column| u64::from_str_radix(names.get(column.name)?, 16).ok();
        parsed.iter().map(|names| columns.iter().map(|column| of_column(names, column)).collect()).collect()
    }
}
