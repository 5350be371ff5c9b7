//! Mean and median norm of selected rows, from the cache's tables alone.

use hayloft_store::{Cache, SiteName, StoreError};

use crate::ranked::{at_rank, lower_middle};
use crate::rows::{Rows, ShardRows};

/// Mean Euclidean norm of the selected rows, unscaled and without non-finite rows. `None` if there are no such rows.
/// Summed in float64 in row and shard order, so that the result is reproducible.
pub fn mean_norm(cache: &Cache, site: &SiteName, rows: &Rows) -> Result<Option<f64>, StoreError> {
    let (mut count, mut sum) = (0, 0.0);
    for_each_shard(cache, site, rows, &mut |norms| {
        count += norms.len();
        for norm in norms {
            sum += f64::from(*norm);
        }
    })?;
    Ok((count > 0).then(|| sum / count as f64))
}

/// Median of the same norms, the lower of two middle ones. `None` if there are none. Reads the tables twice, in memory
/// that does not grow with the cache.
pub fn median_norm(cache: &Cache, site: &SiteName, rows: &Rows) -> Result<Option<f64>, StoreError> {
    let found = at_rank(lower_middle, |look| for_each_shard(cache, site, rows, look))?;
    Ok(found.map(|(median, _)| f64::from(median)))
}

fn for_each_shard(cache: &Cache, site: &SiteName, rows: &Rows, look: &mut dyn FnMut(&[f32])) -> Result<(), StoreError> {
    for place in 0..cache.shards() {
        look(&ShardRows::of(&cache.shard(place)?, site)?.norms_of(rows).collect::<Vec<_>>());
    }
    Ok(())
}
