//! Mean and median of the norms of some rows of a cache, from its tables alone.

use hayloft_store::{Cache, SiteName, StoreError};

use crate::rows::{Rows, ShardRows};

/// Values of the upper half of a float32's bits, and of the lower.
const HALVES: usize = 1 << 16;

/// The mean Euclidean norm of rows in the model's own space, those that are not finite not counted; `None` of none. Summed
/// in float64, row by row and shard by shard, so that it is the same wherever it is computed.
pub(crate) fn mean_norm(cache: &Cache, site: &SiteName, rows: &Rows) -> Result<Option<f64>, StoreError> {
    let (mut count, mut sum) = (0u64, 0.0);
    for_each_norm(cache, site, rows, |norm| {
        count += 1;
        sum += f64::from(norm);
    })?;
    Ok((count > 0).then(|| sum / count as f64))
}

/// The median of the same norms, of two middle ones the lower; `None` of none. Reads the tables twice, and keeps nothing that
/// grows with the cache: the first time finds the upper bits of the median, the second the lower ones.
pub(crate) fn median_norm(cache: &Cache, site: &SiteName, rows: &Rows) -> Result<Option<f64>, StoreError> {
    let mut counts = vec![0u64; HALVES];
    for_each_norm(cache, site, rows, |norm| counts[(norm.to_bits() >> 16) as usize] += 1)?;
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return Ok(None);
    }
    // Norms are not negative, and so in the order of their bits.
    let (upper, rank) = at_rank(&counts, (total - 1) / 2);
    counts.fill(0);
    for_each_norm(cache, site, rows, |norm| {
        if (norm.to_bits() >> 16) as usize == upper {
            counts[(norm.to_bits() & 0xffff) as usize] += 1;
        }
    })?;
    let (lower, _) = at_rank(&counts, rank);
    Ok(Some(f64::from(f32::from_bits((upper << 16 | lower) as u32))))
}

/// The bin that the item of a rank, counted from zero, is in, and its rank within it.
fn at_rank(counts: &[u64], mut rank: u64) -> (usize, u64) {
    for (bin, &count) in counts.iter().enumerate() {
        if rank < count {
            return (bin, rank);
        }
        rank -= count;
    }
    (0, 0)
}

fn for_each_norm(cache: &Cache, site: &SiteName, rows: &Rows, mut each: impl FnMut(f32)) -> Result<(), StoreError> {
    for place in 0..cache.shards() {
        ShardRows::of(&cache.shard(place)?, site)?.norms_of(rows).for_each(&mut each);
    }
    Ok(())
}
