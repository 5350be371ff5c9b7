//! `store upgrade`.

use std::io::Write;

use clap::Args;
use hayloft_store::LocalPath;
use hayloft_store::maintain::upgrade;

use super::bar::Bar;
use super::json::print_json;
use super::numbers::counted;

/// Make a cache of an earlier version of the format one of the present version.
///
/// Caches of every version are read as they are; only adding to one needs this. Records are written anew, with statistics of
/// sections and subsets; activations and tables stay the files that they are. Killed at any moment, the cache stays whole,
/// and the same command goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store upgrade caches/stories --dry-run
  store upgrade caches/stories")]
pub(super) struct Upgrade {
    /// The cache's folder.
    cache: LocalPath,
    /// Read everything that is needed, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let mut bar = Bar::new("upgrading");
        let upgraded = upgrade(&self.cache, self.dry_run, &mut |progress| bar.bytes(progress))?;
        drop(bar);
        if self.json {
            return Ok(print_json(&upgraded, stdout)?);
        }
        let (folder, from, to) = (self.cache.display(), upgraded.from, upgraded.to);
        if from == to {
            writeln!(stdout, "{folder}: already of format {to}")?;
        } else {
            let shards = counted(upgraded.shards as u64, "shard");
            let would = if self.dry_run { "would go" } else { "went" };
            writeln!(stdout, "{folder}: {would} from format {from} to {to}, records of {shards}")?;
        }
        Ok(stdout.flush()?)
    }
}
