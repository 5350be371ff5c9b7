//! The memory of a writer that fills many small shards of many sites, as they become more.
//!
//! ```text
//! cargo run --release -p hayloft-store --example writer_memory -- FOLDER [SHARDS] [SITES] [WIDTH]
//! ```
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example prints, and may fail by panicking")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use hayloft_store::{Codec, Dtype, Existing};

fn main() {
    let mut given = std::env::args().skip(1);
    let folder = PathBuf::from(given.next().unwrap());
    let mut number = |default: usize| given.next().map_or(default, |word| word.parse().unwrap());
    let (shards, sites, width) = (number(10_000), number(10), number(4096));
    std::fs::create_dir_all(&folder).unwrap();
    support::write_plan(&folder, &vec![vec![vec![1]]; shards]);
    let mut settings = support::settings(Dtype::Bf16, Codec::RAW);
    settings.sites = (0..sites).map(|site| support::site(&format!("blocks.{site}.hook_resid_pre"))).collect();
    settings.model.d_model = width;
    settings.model.n_blocks = sites;
    let mut writer = support::open(&folder, &settings, Existing::Refuse).unwrap();
    for shard in 0..shards {
        let done = support::fill_shard(&writer, shard).unwrap();
        writer.record(done).unwrap();
        if (shard + 1) % (shards / 10).max(1) == 0 {
            println!("{:>6} shards of {sites} sites, d {width}: {} KiB resident", shard + 1, resident());
        }
    }
    let manifest = writer.finish().unwrap();
    println!("{:>6} shards in the manifest: {} KiB resident", manifest.shards.len(), resident());
}

/// Memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
