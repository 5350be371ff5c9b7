//! Counts the training rows from the tables, without reading activations.

use hayloft_results::{NormHistogram, RowCounts};
use hayloft_rows::stream::{KeptRows, RowFilter};
use hayloft_rows::{LeftOut, ShardRows, Verdict};
use hayloft_store::{Cache, SiteName};

use super::largest_rows::{LargestRows, NormBins};
use crate::error::TrainError;

/// Row group and row counts of a cache.
#[derive(Debug, Clone)]
pub(crate) struct Census {
    /// The rows to train on.
    pub(crate) kept: KeptRows,
    /// Rows of the selected sections that the filter drops.
    left: LeftOut,
    /// Norms of all rows of the selected sections.
    norms: NormHistogram,
    /// Squared-norm share of the largest kept rows.
    pub(crate) largest: LargestRows,
}

impl Census {
    /// Reads the tables of every shard, but no activations.
    pub(crate) fn take(cache: &Cache, site: &SiteName, filter: &RowFilter) -> Result<Self, TrainError> {
        let mut kept = KeptRows::default();
        let (mut left, mut norms, mut bins) = (LeftOut::default(), NormHistogram::default(), NormBins::default());
        let bos = cache.manifest().corpus.tokenizer.bos_id;
        for place in 0..cache.shards() {
            let shard = cache.shard(place)?;
            let (bounds, rows) = (shard.row_group_bounds(), ShardRows::of(&shard, site)?);
            kept.row_groups.push(bounds.len() - 1);
            for group in bounds.windows(2) {
                let mut of_group = 0;
                for row in (group[0]..group[1]).filter(|&row| filter.trains_on(rows.sequences[row])) {
                    let (token, norm) = (rows.tokens[row], rows.norms[row]);
                    let Some(verdict) = filter.judge(rows.sections[row], token, norm) else { continue };
                    norms.add(f64::from(norm));
                    left.count(verdict);
                    if verdict == Verdict::Kept {
                        of_group += 1;
                        bins.add(norm, token == bos);
                    }
                }
                kept.rows.push(group[1] - group[0]);
                kept.kept.push(of_group);
            }
        }
        Ok(Self { kept, left, norms, largest: bins.largest() })
    }

    /// Number of kept rows: one epoch.
    pub(crate) fn rows(&self) -> usize {
        self.kept.rows()
    }

    /// Counts of kept and dropped rows in the selected sections.
    pub(crate) fn counts(&self) -> RowCounts<'_> {
        RowCounts { kept: self.rows() as u64, left: self.left, norms: &self.norms }
    }
}
