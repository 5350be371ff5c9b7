//! A shard that is being read from.

use std::ops::Range;

use hayloft_store::{ActivationReader, Cache, Section, Sequence, SiteName, row_group_rows};

use super::filter::RowFilter;
use crate::train::TrainError;

/// One site of a shard, with the tables that the filter looks at.
#[derive(Debug)]
pub(super) struct OpenShard {
    reader: ActivationReader,
    tables: Tables,
}

/// What the filter needs to know of a shard's rows.
#[derive(Debug)]
pub(super) struct Tables {
    /// The first row of each row group, and the end of the last.
    bounds: Vec<usize>,
    /// `[rows]`.
    sections: Vec<Section>,
    /// `[rows]`: Euclidean norms in the model's own units.
    norms: Vec<f32>,
    /// Each with the rows that it takes.
    sequences: Vec<(u64, Range<usize>)>,
}

impl Tables {
    pub(super) fn read(cache: &Cache, place: usize, site: &SiteName) -> Result<Self, TrainError> {
        let shard = cache.shard(place)?;
        let mut bounds = vec![0];
        for rows in row_group_rows(shard.sequences()) {
            bounds.push(bounds[bounds.len() - 1] + rows as usize);
        }
        let rows = |sequence: &Sequence| {
            let first = sequence.first_row as usize;
            (sequence.id, first..first + sequence.length as usize)
        };
        let sequences = shard.sequences().iter().map(rows).collect();
        Ok(Self { bounds, sections: shard.tokens()?.section, norms: shard.norms(site)?, sequences })
    }

    pub(super) fn row_groups(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The rows of a row group, counted from its first, that the filter keeps and that are trained on.
    pub(super) fn kept(&self, row_group: usize, filter: &RowFilter) -> Vec<u32> {
        self.kept_of(row_group, filter, |sequence| filter.trains_on(sequence))
    }

    /// The rows of a row group, counted from its first, that the filter keeps of sequences from this id on.
    pub(super) fn kept_from(&self, row_group: usize, filter: &RowFilter, first: u64) -> Vec<i64> {
        self.kept_of(row_group, filter, |sequence| sequence >= first).into_iter().map(i64::from).collect()
    }

    /// How many rows of each sequence the filter keeps, whether they are trained on or not.
    pub(super) fn kept_by_sequence(&self, filter: &RowFilter) -> impl Iterator<Item = (u64, usize)> {
        let kept = |rows: &Range<usize>| rows.clone().filter(|&row| self.keeps(filter, row)).count();
        self.sequences.iter().map(move |(sequence, rows)| (*sequence, kept(rows)))
    }

    fn kept_of(&self, row_group: usize, filter: &RowFilter, wanted: impl Fn(u64) -> bool) -> Vec<u32> {
        let (first, end) = (self.bounds[row_group], self.bounds[row_group + 1]);
        let from = self.sequences.partition_point(|(_, rows)| rows.start < first);
        let own = self.sequences[from..].iter().take_while(|(_, rows)| rows.start < end);
        let rows = own.filter(|(sequence, _)| wanted(*sequence)).flat_map(|(_, rows)| rows.clone());
        rows.filter(|&row| self.keeps(filter, row)).map(|row| (row - first) as u32).collect()
    }

    fn keeps(&self, filter: &RowFilter, row: usize) -> bool {
        filter.keeps(self.sections[row], self.norms[row])
    }
}

impl OpenShard {
    pub(super) fn open(cache: &Cache, place: usize, site: &SiteName) -> Result<Self, TrainError> {
        let reader = cache.shard(place)?.activations(site)?;
        Ok(Self { reader, tables: Tables::read(cache, place, site)? })
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Reads a whole row group, verified: `[rows, d_model]` little-endian words.
    pub(super) fn read(&self, row_group: usize, into: &mut Vec<u8>) -> Result<(), TrainError> {
        Ok(self.reader.read(row_group, into)?)
    }
}
