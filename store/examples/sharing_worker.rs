//! A worker that fills a small cache beside others, slowly, for tests to stop and to kill.
//!
//! ```text
//! cargo run -p hayloft-store --features remote,workers --example sharing_worker -- CACHE SCRATCH KIND
//! ```
//!
//! `CACHE` is a folder or a location; a worker of another `KIND` makes other bytes of the same shard, as other hardware may.
#![expect(clippy::unwrap_used, reason = "an example may fail by panicking")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use hayloft_store::{CacheWriter, Codec, Dtype, NonFinite, RemoteOptions, Sharing};

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [cache, scratch, kind] = given.as_slice() else { panic!("CACHE SCRATCH KIND") };
    let (settings, sharing) = (support::settings(Dtype::Bf16, Codec::RAW), Sharing { lease: Sharing::SHORTEST });
    let writer = if cache.contains("://") {
        let options = RemoteOptions { timeout: Duration::from_secs(5), ..RemoteOptions::default() };
        let location = cache.parse().unwrap();
        CacheWriter::open_bucket(&location, &options, Path::new(scratch), settings, NonFinite::Refuse, sharing)
    } else {
        CacheWriter::open_shared(Path::new(cache), settings, NonFinite::Refuse, sharing)
    };
    support::work_slowly(writer.unwrap(), kind.parse().unwrap()).unwrap();
}
