//! Numerical differences between two shards.

use serde::Serialize;

use crate::error::Result;
use crate::format::plan::TOKENS_FILE;
use crate::format::shard_record::WrittenShard;
use crate::format::tables::sequences::Sequence;
use crate::maintain::holding::Holding;
use crate::read::cache::Shard;

/// The differences between two caches in a site's activations, or in a shard's losses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueDiff {
    /// The shard.
    pub shard: usize,
    /// The site, or `loss`.
    pub what: String,
    /// Values compared.
    pub compared: u64,
    /// Values that differ bitwise; if the types differ, after widening to f32.
    pub differing: u64,
    /// The largest absolute difference between values that are finite in both.
    pub largest_absolute: f64,
    /// The largest difference divided by the larger of the two magnitudes, between 0 and 2.
    pub largest_relative: f64,
    /// The first value that differs.
    pub first: Option<Place>,
}

/// The location of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The sequence's id.
    pub sequence: u64,
    /// The position in it, from 0.
    pub position: u64,
    /// The element of the row, from 0; null for a loss.
    pub dimension: Option<usize>,
}

/// Compares the values in files that differ. Returns nothing if the sequences or widths of the shards differ.
pub(super) fn compare(
    ours: &Holding,
    theirs: &Holding,
    a: &WrittenShard,
    b: &WrittenShard,
    differs: impl Fn(&str) -> bool,
) -> Result<Vec<ValueDiff>> {
    let (a, b) = (ours.cache.shard_of(&a.record)?, theirs.cache.shard_of(&b.record)?);
    let width = |shard: &Shard, site| shard.contents().settings.width(site);
    let same_width = a.contents().settings.sites.iter().all(|site| width(&a, site) == width(&b, site));
    if a.sequences() != b.sequences() || !same_width {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for site in &a.contents().settings.sites {
        if differs(&site.file_name()) {
            let (ours, theirs) = (a.activations(site)?, b.activations(site)?);
            let width = ours.d_model();
            let mut comparison = Comparison::new(&a, site.as_str());
            let (mut our_bits, mut their_bits) = (Vec::new(), Vec::new());
            let mut row = 0;
            for row_group in 0..ours.row_groups() {
                ours.read(row_group, &mut our_bits)?;
                theirs.read(row_group, &mut their_bits)?;
                let rows = ours.rows(row_group);
                let (mut our_row, mut their_row) = (vec![0.0; width], vec![0.0; width]);
                let our_rows = our_bits.chunks_exact(width * ours.dtype().bytes());
                let their_rows = their_bits.chunks_exact(width * theirs.dtype().bytes());
                for (index, (our_words, their_words)) in our_rows.zip(their_rows).enumerate() {
                    if our_words == their_words && ours.dtype() == theirs.dtype() {
                        comparison.same(width);
                        continue;
                    }
                    ours.dtype().widen(our_words, &mut our_row);
                    theirs.dtype().widen(their_words, &mut their_row);
                    for (dimension, (a, b)) in our_row.iter().zip(&their_row).enumerate() {
                        comparison.add(row + index, Some(dimension), *a, *b);
                    }
                }
                row += rows;
                ours.release(row_group);
                theirs.release(row_group);
            }
            found.push(comparison.found);
        }
    }
    if differs(TOKENS_FILE)
        && let (Some(ours), Some(theirs)) = (a.predictions()?, b.predictions()?)
    {
        let mut comparison = Comparison::new(&a, "loss");
        for (row, (a, b)) in ours.loss.iter().zip(&theirs.loss).enumerate() {
            // The last token of a sequence has no loss.
            if !(a.is_nan() && b.is_nan()) {
                comparison.add(row, None, *a, *b);
            }
        }
        found.push(comparison.found);
    }
    Ok(found)
}

struct Comparison<'a> {
    sequences: &'a [Sequence],
    found: ValueDiff,
}

impl<'a> Comparison<'a> {
    fn new(shard: &'a Shard, what: &str) -> Self {
        let found = ValueDiff {
            shard: shard.contents().index,
            what: what.to_owned(),
            compared: 0,
            differing: 0,
            largest_absolute: 0.0,
            largest_relative: 0.0,
            first: None,
        };
        Self { sequences: shard.sequences(), found }
    }

    fn same(&mut self, numbers: usize) {
        self.found.compared += numbers as u64;
    }

    fn add(&mut self, row: usize, dimension: Option<usize>, a: f32, b: f32) {
        self.found.compared += 1;
        if a.to_bits() == b.to_bits() {
            return;
        }
        self.found.differing += 1;
        if self.found.first.is_none() {
            self.found.first = Some(self.place(row as u64, dimension));
        }
        if a.is_finite() && b.is_finite() {
            let absolute = (f64::from(a) - f64::from(b)).abs();
            let magnitude = f64::from(a.abs().max(b.abs()));
            self.found.largest_absolute = self.found.largest_absolute.max(absolute);
            if magnitude > 0.0 {
                self.found.largest_relative = self.found.largest_relative.max(absolute / magnitude);
            }
        }
    }

    fn place(&self, row: u64, dimension: Option<usize>) -> Place {
        let after = self.sequences.partition_point(|sequence| sequence.first_row <= row);
        let (sequence, first_row) =
            after.checked_sub(1).map_or((0, 0), |index| (self.sequences[index].id, self.sequences[index].first_row));
        Place { sequence, position: row - first_row, dimension }
    }
}
