//! One sequence of a cache.

use hayloft_store::Section;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::Failure;
use crate::opened::Opened;

/// A sequence: its tokens, and what is stored of them.
pub(crate) struct SequenceColumns {
    first_row: u64,
    document: u64,
    subset: Option<String>,
    tokens: Vec<u32>,
    sections: Vec<&'static str>,
    turns: Option<Vec<u32>>,
    losses: Option<Vec<f32>>,
}

impl SequenceColumns {
    /// Finds a sequence by its id; none if no shard has it.
    pub(crate) fn find(opened: &Opened, id: u64) -> Result<Option<Self>, Failure> {
        let cache = opened.cache()?;
        let Some((shard, index)) = cache.find_sequence(id)? else { return Ok(None) };
        let records = &cache.manifest().shards;
        let Some(place) = records.iter().position(|record| record.index == shard.record().index) else {
            return Ok(None);
        };
        let before: u64 = records[..place].iter().map(|record| record.counts.tokens).sum();
        let sequence = &shard.sequences()[index];
        let rows = sequence.first_row as usize..(sequence.first_row + u64::from(sequence.length)) as usize;
        let tables = opened.tables(place)?;
        let tokens = &tables.tokens;
        Ok(Some(Self {
            first_row: before + sequence.first_row,
            document: sequence.document,
            subset: sequence.subset.clone(),
            tokens: tokens.token[rows.clone()].to_vec(),
            sections: tokens.section[rows.clone()].iter().copied().map(Section::as_str).collect(),
            turns: (!tokens.turn.is_empty()).then(|| tokens.turn[rows.clone()].to_vec()),
            losses: tables.losses.as_ref().map(|losses| losses[rows].to_vec()),
        }))
    }

    /// The columns as a dict of lists.
    pub(crate) fn into_dict(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let columns = PyDict::new(py);
        columns.set_item("first_row", self.first_row)?;
        columns.set_item("document", self.document)?;
        columns.set_item("subset", self.subset)?;
        columns.set_item("tokens", self.tokens)?;
        columns.set_item("sections", self.sections)?;
        columns.set_item("turns", self.turns)?;
        columns.set_item("losses", self.losses)?;
        Ok(columns)
    }
}
