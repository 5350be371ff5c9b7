//! Mean and median of the norms of some rows of a cache, from its tables alone.

use hayloft_store::{Cache, SiteName, StoreError};

use crate::ranked::{at_rank, lower_middle};
use crate::rows::{Rows, ShardRows};

/// The mean Euclidean norm of rows in the model's own space, those that are not finite not counted; `None` of none. Summed
/// in float64, row by row and shard by shard, so that it is the same wherever it is computed.
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

/// The median of the same norms, of two middle ones the lower; `None` of none. Reads the tables twice, and keeps nothing that
/// grows with the cache.
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
