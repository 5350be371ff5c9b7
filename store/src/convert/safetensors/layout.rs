//! The header of a shard's file: the layout of its tensors.

use std::sync::Arc;

use hayloft_runtime::Dtype;
use safetensors::Dtype as Kind;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value, json};

use crate::format::section::Section;
use crate::format::site::SiteName;

pub(super) const TOKEN: &str = "table.token";
pub(super) const POSITION: &str = "table.position";
pub(super) const SEQUENCE: &str = "table.sequence";
pub(super) const DOCUMENT: &str = "table.document";
pub(super) const SEQUENCE_LENGTH: &str = "table.sequence_length";
pub(super) const SEQUENCE_ROW_GROUP: &str = "table.sequence_row_group";
pub(super) const SEQUENCE_DOCUMENT: &str = "table.sequence_document";
pub(super) const SUBSET: &str = "table.subset";
pub(super) const TURN: &str = "table.turn";
pub(super) const SECTION: &str = "table.section";

pub(super) const SECTIONS_KEY: &str = "hayloft.sections";
pub(super) const SUBSETS_KEY: &str = "hayloft.subsets";

/// The values that determine a shard's header.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub(super) rows: usize,
    pub(super) sequences: usize,
    pub(super) dtype: Dtype,
    /// Each with its width.
    pub(super) sites: Vec<(&'a SiteName, usize)>,
    pub(super) subsets: &'a [Arc<str>],
    /// Whether tokens have the number of their turn.
    pub(super) has_turns: bool,
}

/// The safetensors type.
pub(super) fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::F32,
        Dtype::Bf16 => Kind::BF16,
        Dtype::F16 => Kind::F16,
    }
}

impl Shape<'_> {
    /// The start of the file, up to the first tensor. Wider types come first, so that every tensor is aligned.
    pub(super) fn header(&self) -> serde_json::Result<Vec<u8>> {
        let rows = [TOKEN, POSITION, SEQUENCE, DOCUMENT].map(|name| (name, Kind::I64, vec![self.rows]));
        let sequences = [SEQUENCE_LENGTH, SEQUENCE_ROW_GROUP, SEQUENCE_DOCUMENT];
        let sequences = sequences.map(|name| (name, Kind::I64, vec![self.sequences]));
        let sites = self.sites.iter();
        let sites = sites.map(|(site, width)| (site.as_str(), kind(self.dtype), vec![self.rows, *width]));
        let tensors = rows
            .into_iter()
            .chain(sequences)
            .chain([(SUBSET, Kind::I32, vec![self.rows])])
            .chain(self.has_turns.then(|| (TURN, Kind::I32, vec![self.rows])))
            .chain(sites)
            .chain([(SECTION, Kind::U8, vec![self.rows])]);

        let mut header = Map::new();
        let subsets: Vec<&str> = self.subsets.iter().map(AsRef::as_ref).collect();
        let about = json!({
            "format": "pt",
            SECTIONS_KEY: serde_json::to_string(&Section::ALL)?,
            SUBSETS_KEY: serde_json::to_string(&subsets)?,
        });
        header.insert("__metadata__".to_owned(), about);
        let mut end = 0;
        for (name, dtype, shape) in tensors {
            let start = end;
            end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
            let info = TensorInfo { dtype, shape, data_offsets: (start, end) };
            header.insert(name.to_owned(), serde_json::to_value(info)?);
        }
        let mut text = Value::Object(header).to_string();
        // Align the data to eight bytes.
        text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        Ok(bytes)
    }
}
