//! A shard that is being read from.

use hayloft_store::{ActivationReader, Cache, Section, SiteName, row_group_rows};

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
}

impl Tables {
    pub(super) fn read(cache: &Cache, place: usize, site: &SiteName) -> Result<Self, TrainError> {
        let shard = cache.shard(place)?;
        let mut bounds = vec![0];
        for rows in row_group_rows(shard.sequences()) {
            bounds.push(bounds[bounds.len() - 1] + rows as usize);
        }
        Ok(Self { bounds, sections: shard.tokens()?.section, norms: shard.norms(site)? })
    }

    pub(super) fn row_groups(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The rows of a row group, counted from its first, that the filter keeps.
    pub(super) fn kept(&self, row_group: usize, filter: &RowFilter) -> Vec<u32> {
        let (first, end) = (self.bounds[row_group], self.bounds[row_group + 1]);
        let kept = (first..end).filter(|&row| filter.keeps(self.sections[row], self.norms[row]));
        kept.map(|row| (row - first) as u32).collect()
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
