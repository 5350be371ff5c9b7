//! `store pull`.

use std::io::Write;

use clap::Args;
use hayloft_store::{LocalPath, Location, PullSelection, Section, ShardRange, SiteName, pull};

use super::numbers::counted;
use super::remote::{LOCATIONS, Moving, Watch};

const EXAMPLES: &str = "\
Examples:
  store pull s3://farm/stories caches/stories
  store pull s3://farm/stories caches/layer16 --site blocks.16.hook_resid_pre
  store pull s3://farm/stories caches/some --shards 0..3,7
  store pull gs://farm/alpaca caches/rollouts --section rollout

";

/// Get a cache, or a part of one, from a bucket or another folder.
///
/// What comes is a cache: it opens, verifies and can be harvested on. Every file is checked by its BLAKE3 before it
/// takes its name, and a shard is whole or not there. A pull that was interrupted goes on when it is run again, within
/// a file at the byte where it stopped. The whole plan comes along, as it is small.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{LOCATIONS}"))]
pub(super) struct Pull {
    /// Where the cache is
    #[arg(value_name = "URL")]
    location: Location,
    /// The folder to put it into
    cache: LocalPath,
    /// Only this site; may be given several times
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<SiteName>,
    /// Only these shards, by their numbers: 0..3 is 0, 1 and 2
    #[arg(long, value_name = "SHARDS", value_delimiter = ',')]
    shards: Vec<ShardRange>,
    /// Only shards that hold tokens of this section, whole, with what else is in them; may be given several times
    #[arg(long = "section", value_name = "SECTION")]
    sections: Vec<Section>,
    /// Only shards that hold tokens of this subset, whole, with what else is in them; may be given several times
    #[arg(long = "subset", value_name = "SUBSET")]
    subsets: Vec<String>,
    #[command(flatten)]
    moving: Moving,
}

impl Pull {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let selection = PullSelection {
            sites: self.sites.clone(),
            shards: self.shards.clone(),
            sections: self.sections.clone(),
            subsets: self.subsets.clone(),
        };
        let watch = Watch::new("pulling");
        let options = self.moving.options();
        let pulled = pull(&self.location, &self.cache, &selection, &options, &|moved| watch.moved(moved))?;
        drop(watch);
        let words = format!(
            "{}: {} in the folder, {}; {} brought, {} there already",
            self.cache.display(),
            counted(pulled.shards as u64, "shard"),
            counted(pulled.sites as u64, "site"),
            pulled.shards_brought,
            pulled.shards_found,
        );
        self.moving.print(stdout, &pulled, &words, pulled.traffic)
    }
}
