//! How fast batches of a cache are drawn, on this machine:
//!
//! ```text
//! cargo run --release -p hayloft-rows --example batch_speed -- [--threads N] CACHE
//! ```
//!
//! Prints JSON: gigabytes (1e9) of plain words a second, of all rows of the cache's first site in batches of 4096, in the
//! order of the cache and shuffled with a mixing buffer of 1 GiB. What is done before the first batch counts: the tables of
//! the shards are read, and the buffer is filled.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use hayloft_rows::stream::{BatchPlan, Batches, KeptRows, Reading, RowFilter};
use hayloft_rows::{ExcludeChoice, Excluded, OutlierRule, Rows};
use hayloft_store::{Cache, RowReader, SiteName};

const BATCH: usize = 4096;
const BUFFER_BYTES: usize = 1 << 30;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut cache = None;
    while let Some(argument) = arguments.next() {
        if argument == "--threads" {
            let threads = arguments.next().unwrap_or_default().parse()?;
            rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
        } else {
            cache = Some(argument);
        }
    }
    let cache = Arc::new(Cache::open(cache.context("expected a cache")?)?);
    let site = cache.manifest().sites.first().context("expected a cache with a site")?.name.clone();
    let in_order = speed(&cache, &site, None)?;
    let shuffled = speed(&cache, &site, Some(0))?;
    writeln!(io::stdout(), r#"{{"in_order_gb_per_s": {in_order:.3}, "shuffled_gb_per_s": {shuffled:.3}}}"#)?;
    Ok(())
}

fn speed(cache: &Arc<Cache>, site: &SiteName, seed: Option<u64>) -> anyhow::Result<f64> {
    let start = Instant::now();
    let filter =
        RowFilter::new(Rows::new(Vec::new(), Excluded::new(ExcludeChoice::None, &[])), OutlierRule::above(None));
    let mut kept = KeptRows::default();
    for place in 0..cache.shards() {
        kept.add_shard(cache, place, site, &filter)?;
    }
    let row_bytes = RowReader::open(cache, site.as_str())?.row_bytes();
    let reading = Reading { seed, epochs: Some(1), part: 0, parts: 1 };
    let plan = BatchPlan { filter, kept, reading, batch: BATCH, mix_rows: BUFFER_BYTES / row_bytes, row_bytes };
    let mut batches = Batches::open(plan, Arc::clone(cache), site, None)?;
    let mut bytes = 0;
    loop {
        let batch = batches.draw(false)?;
        if batch.origins.is_empty() {
            return Ok(bytes as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
        bytes += batch.bytes.len();
    }
}
