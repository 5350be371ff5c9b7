//! `store push`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::io::Write;

use clap::Args;
use hayloft_store::{LocalPath, Location, push};

use super::numbers::counted;
use super::remote::{LOCATIONS, Moving, Watch};

const EXAMPLES: &str = "\
Examples:
  store push caches/stories s3://farm/stories
  store push caches/stories file:///mnt/share/stories
  store push caches/stories s3://farm/stories --json | jq .traffic.sent
  # The server checks what it gets
  AWS_CHECKSUM_ALGORITHM=sha256 store push caches/stories s3://farm/stories

";

/// Put a cache into a bucket or another folder.
///
/// Objects have the names of the cache's files, so that `aws s3 cp --recursive` works both ways. Nothing is ever
/// replaced but manifest.json, which comes last, and only over the version that it was made from: several machines can
/// push their shards of one plan to one place at the same time. Each file is hashed before it is sent, so a damaged one
/// never gets there. A push that was interrupted goes on when it is run again, and one that is run again mends what is
/// missing or damaged there: objects of up to 8 MiB are read and hashed, and of larger ones the hash that a push leaves
/// beside them is compared. The baselines stay here.
///
/// Before its first write it makes sure that the service refuses conditional writes whose condition does not hold, by an
/// empty object that it removes. A push that is killed within a large file leaves parts that the service keeps, and
/// charges for, until a lifecycle rule removes them: AbortIncompleteMultipartUpload on S3 and Google Cloud Storage; Azure
/// drops them after a week by itself.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{LOCATIONS}"))]
pub(super) struct Push {
    /// The cache's folder
    cache: LocalPath,
    /// Where to put it
    #[arg(value_name = "URL")]
    location: Location,
    #[command(flatten)]
    moving: Moving,
}

impl Push {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let watch = Watch::new("pushing");
        let pushed = push(&self.cache, &self.location, &self.moving.options(), &|moved| watch.moved(moved))?;
        drop(watch);
        let mended = match pushed.files_mended {
            0 => String::new(),
            files => format!(" ({files} in place of damaged ones)"),
        };
        let words = format!(
            "{}: {} of this cache, {} there; {} written{mended}, {} there already",
            pushed.location,
            counted(pushed.shards as u64, "shard"),
            pushed.shards_there,
            counted(pushed.files_written, "file"),
            pushed.files_found,
        );
        self.moving.print(stdout, &pushed, &words, pushed.traffic)
    }
}
