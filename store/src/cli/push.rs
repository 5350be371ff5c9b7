//! `store push`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use hayloft_store::{Location, push};

use super::numbers::counted;
use super::remote::{LOCATIONS, Moving, Watch};

const EXAMPLES: &str = "\
Examples:
  store push caches/stories s3://farm/stories
  store push caches/stories file:///mnt/share/stories
  store push caches/stories s3://farm/stories --json | jq .traffic.sent
  AWS_CHECKSUM_ALGORITHM=sha256 store push caches/stories s3://farm/stories     the server checks what it gets

";

/// Put a cache into a bucket or another folder.
///
/// Objects have the names of the cache's files, so that `aws s3 cp --recursive` works both ways. Nothing is ever
/// replaced but manifest.json, which comes last, and only over the version that it was made from: several machines can
/// push their shards of one plan to one place at the same time. Each file is hashed before it is sent, so a damaged one
/// never gets there. A push that was interrupted goes on when it is run again. The baselines stay here.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{LOCATIONS}"))]
pub(super) struct Push {
    /// The cache's folder
    cache: PathBuf,
    /// Where to put it
    #[arg(value_name = "URL")]
    location: String,
    #[command(flatten)]
    moving: Moving,
}

impl Push {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        // Not by clap, which would repeat what it refuses, with a password that may be in it.
        let location: Location = self.location.parse()?;
        let watch = Watch::new("pushing");
        let pushed = push(&self.cache, &location, &self.moving.options(), &|moved| watch.moved(moved))?;
        drop(watch);
        let words = format!(
            "{}: {} of this cache, {} there; {} written, {} there already",
            pushed.location,
            counted(pushed.shards as u64, "shard"),
            pushed.shards_there,
            counted(pushed.files_written, "file"),
            pushed.files_found,
        );
        self.moving.print(stdout, &pushed, &words, pushed.traffic)
    }
}
