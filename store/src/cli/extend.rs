//! `store extend`.

use std::io::{self, Write};

use clap::Args;
use hayloft_store::maintain::{Extended, extend};
use hayloft_store::{LocalPath, SiteName};

use super::bar::Bar;
use super::numbers::counted;
use super::output::Output;
use super::placed::{cache_in_words, files, shards_in_words};

/// Add to a cache the shards or the sites that another cache of its plan has beyond it.
///
/// More tokens: shards that the cache lacks. Another site: the other's sites on the shards of the cache, all of which the
/// other must have. The result is byte for byte what one harvest of all that would have written. Killed at any moment, the
/// cache stays whole, and the same command goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store extend caches/stories --with caches/stories-more

  # A second site, on the same tokens
  harvest plan … --out upper
  harvest run … --out upper --site blocks.24.hook_resid_pre
  store extend caches/stories --with upper

To put caches together in a new one, use `store merge`.")]
pub(super) struct Extend {
    /// The cache that is extended, in place.
    cache: LocalPath,
    /// The cache that it is extended with, which stays as it is.
    #[arg(long, value_name = "OTHER")]
    with: LocalPath,
    /// Copy the other's files, also where they could be linked.
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    output: Output,
}

impl Extend {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let mut bar = Bar::new("extending");
        let extended = extend(&self.cache, &self.with, files(self.copy), &mut |progress| bar.bytes(progress))?;
        drop(bar);
        Ok(self.output.print(stdout, &extended, |stdout| self.print(&extended, stdout))?)
    }

    fn print(&self, extended: &Extended, stdout: &mut dyn Write) -> io::Result<()> {
        if !extended.added_sites.is_empty() {
            let sites: Vec<&str> = extended.added_sites.iter().map(SiteName::as_str).collect();
            writeln!(stdout, "added {}: {}", counted(sites.len() as u64, "site"), sites.join(", "))?;
        }
        if !extended.added_shards.is_empty() {
            let shards = &extended.added_shards;
            writeln!(stdout, "added {}: {}", counted(shards.len() as u64, "shard"), shards_in_words(shards))?;
        }
        if !extended.left_out.is_empty() {
            let shards = shards_in_words(&extended.left_out);
            writeln!(stdout, "left out shards {shards}, which do not have everything that the cache has")?;
        }
        if extended.added_sites.is_empty() && extended.added_shards.is_empty() {
            writeln!(stdout, "nothing to add")?;
        }
        let Extended { shards, planned_shards, tokens, ref placed, .. } = *extended;
        writeln!(stdout, "{}", cache_in_words(&self.cache, shards, planned_shards, tokens, placed))
    }
}
