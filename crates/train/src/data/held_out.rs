//! Held-out rows, used to evaluate the SAE on data it is not trained on.

use std::collections::BTreeMap;

use hayloft_model::kind;
use hayloft_rows::ShardRows;
use hayloft_rows::stream::RowFilter;
use hayloft_store::{Cache, SiteName};
use tch::{Device, Kind, Tensor};

use crate::error::TrainError;

/// The kept rows of the last whole sequences of a cache, by id.
#[derive(Debug)]
pub(crate) struct HeldOutRows<'cache> {
    cache: &'cache Cache,
    site: &'cache SiteName,
    d_model: usize,
    /// Id of the first held-out sequence. All from it on are held out.
    first: u64,
    sequences: u64,
    rows: usize,
    row_groups: Vec<HeldOutRowGroup>,
}

/// Held-out rows of one row group.
#[derive(Debug)]
struct HeldOutRowGroup {
    /// Index of its shard in the manifest.
    place: usize,
    row_group: usize,
    /// Indices within the row group.
    rows: Vec<i64>,
}

impl<'cache> HeldOutRows<'cache> {
    /// Selects the fewest last sequences that hold `wanted` kept rows, leaving at least `batch` rows. Reads only the tables.
    pub(crate) fn find(
        (cache, site, d_model): (&'cache Cache, &'cache SiteName, usize),
        filter: &RowFilter,
        wanted: usize,
        batch: usize,
    ) -> Result<Self, TrainError> {
        let mut last = LastSequences::default();
        let mut all = 0;
        for place in 0..cache.shards() {
            let shard = cache.shard(place)?;
            let rows = ShardRows::of(&shard, site)?;
            for sequence in shard.sequences() {
                let first = sequence.first_row as usize;
                let own = first..first + sequence.length as usize;
                let kept = own.filter(|&row| filter.keeps(&rows, row)).count();
                all += kept;
                last.add(sequence.id, kept, wanted);
            }
        }
        let LastSequences { kept, rows } = last;
        let first = kept.keys().next().copied().unwrap_or(0);
        if rows < wanted || all - rows < batch {
            let expected = format!(
                "at most {}, so that of {all} activations that sections and outlier norm leave a batch of {batch} remains to train on",
                all.saturating_sub(batch)
            );
            let got = format!("{wanted}, which the sequences {first}.. hold with {rows}");
            return Err(TrainError::setting("held-out rows", expected, &got));
        }
        let mut row_groups = Vec::new();
        for place in 0..cache.shards() {
            let shard = cache.shard(place)?;
            if shard.sequences().iter().all(|sequence| sequence.id < first) {
                continue;
            }
            let tables = ShardRows::of(&shard, site)?;
            for (row_group, bounds) in shard.row_group_bounds().windows(2).enumerate() {
                let held_out = |row: &usize| tables.sequences[*row] >= first && filter.keeps(&tables, *row);
                let rows: Vec<i64> =
                    (bounds[0]..bounds[1]).filter(held_out).map(|row| (row - bounds[0]) as i64).collect();
                if !rows.is_empty() {
                    row_groups.push(HeldOutRowGroup { place, row_group, rows });
                }
            }
        }
        Ok(Self { cache, site, d_model, first, sequences: kept.len() as u64, rows, row_groups })
    }

    /// Id of the first held-out sequence.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Number of held-out sequences.
    pub(crate) fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Number of held-out kept rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Calls `work` with the rows in cache order, one row group at a time: `[n, d_model]` in the stored dtype on the device.
    pub(crate) fn for_each(
        &self,
        device: Device,
        mut work: impl FnMut(&Tensor) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let kind: Kind = kind(self.cache.manifest().read_dtype());
        let mut bytes = Vec::new();
        let mut open = None;
        for HeldOutRowGroup { place, row_group, rows } in &self.row_groups {
            let reader = match open.take() {
                Some((of, reader)) if of == *place => reader,
                _ => self.cache.shard(*place)?.activations(self.site)?,
            };
            reader.read(*row_group, &mut bytes)?;
            let shape = [reader.rows(*row_group) as i64, self.d_model as i64];
            let all = Tensor::f_from_data_size(&bytes, &shape, kind)?;
            let own =
                if rows.len() as i64 == shape[0] { all } else { all.f_index_select(0, &Tensor::f_from_slice(rows)?)? };
            work(&own.f_to_device(device)?)?;
            open = Some((*place, reader));
        }
        Ok(())
    }
}

/// The last sequences seen so far, as few as hold enough rows.
#[derive(Debug, Default)]
struct LastSequences {
    /// Kept rows per sequence id.
    kept: BTreeMap<u64, usize>,
    rows: usize,
}

impl LastSequences {
    fn add(&mut self, sequence: u64, rows: usize, wanted: usize) {
        *self.kept.entry(sequence).or_default() += rows;
        self.rows += rows;
        while let Some(first) = self.kept.first_entry()
            && self.rows - first.get() >= wanted
        {
            self.rows -= first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_sequences_are_found_in_whatever_order_they_come(
            rows in vec(0usize..9, 1..40), wanted in 1usize..60, seed in any::<u64>()
        ) {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|&sequence| (sequence as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            let mut last = LastSequences::default();
            for sequence in order {
                last.add(sequence as u64, rows[sequence], wanted);
            }
            let enough = |first: &usize| rows[*first..].iter().sum::<usize>() >= wanted;
            let first = (0..rows.len()).rev().find(enough).unwrap_or(0);
            prop_assert_eq!(last.rows, rows[first..].iter().sum::<usize>());
            prop_assert!(last.kept.keys().copied().eq(first as u64..rows.len() as u64));
        }
    }
}
