//! `store merge`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use hayloft_store::maintain::{Merged, merge};
use hayloft_store::{Existing, LocalPath};

use super::bar::Bar;
use super::output::Output;
use super::placed::{cache_in_words, files, shards_in_words};

/// Put the shards of several caches of one plan into a new cache.
///
/// For machines that shared the shards of a plan: the result is byte for byte what one machine would have written. All must
/// have been made from the same plan, with the same model, sites, type, codec and predictions; a shard that two of them have
/// must be the same. The hash of every file is checked on the way. Files are linked where the file system can, so that
/// merging takes no space, and copied elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store merge machine-1/stories machine-2/stories --out caches/stories
  # Independent of the parts, which can be removed
  store merge caches/part-* --out caches/stories --copy
  # Go on after an interruption
  store merge caches/part-* --out caches/stories --resume

Shards that none of them has are filled by `harvest run --resume` on the new
cache.")]
pub(super) struct Merge {
    /// The caches to put together.
    #[arg(required = true, num_args = 2.., value_name = "CACHE")]
    caches: Vec<LocalPath>,
    /// The new cache's folder.
    #[arg(long)]
    out: LocalPath,
    /// Copy files, also where they could be linked.
    #[arg(long)]
    copy: bool,
    /// Go on with a merge that was interrupted: shards that are there are kept.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    output: Output,
}

impl Merge {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let caches: Vec<PathBuf> = self.caches.iter().map(|cache| cache.to_path_buf()).collect();
        let mut bar = Bar::new("merging");
        let existing = if self.resume { Existing::Resume } else { Existing::Refuse };
        let merged = merge(&caches, &self.out, files(self.copy), existing, &mut |progress| bar.bytes(progress))?;
        drop(bar);
        Ok(self.output.print(stdout, &merged, |stdout| self.print(&merged, stdout))?)
    }

    fn print(&self, merged: &Merged, stdout: &mut dyn Write) -> io::Result<()> {
        for taken in &merged.taken {
            let shards =
                if taken.shards.is_empty() { "nothing new".to_owned() } else { shards_in_words(&taken.shards) };
            writeln!(stdout, "{}: {shards}", taken.cache.display())?;
        }
        let Merged { shards, planned_shards, tokens, ref placed, .. } = *merged;
        writeln!(stdout, "{}", cache_in_words(&self.out, shards, planned_shards, tokens, placed))
    }
}
