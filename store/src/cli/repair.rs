//! `store repair`.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use hayloft_store::LocalPath;
use hayloft_store::maintain::{Repaired, repair};

use super::bar::Bar;
use super::numbers::counted;
use super::output::Output;
use super::placed::shards_in_words;

/// Make a damaged cache whole: restore what can be restored, and drop what is to be harvested again.
///
/// Checks every file as `store verify` does. A lost or damaged manifest is made again from the shards; tables that the plan and
/// the shards share are restored from one another; shards with other damage are dropped, so that `harvest run --resume` fills
/// them to the same bytes. Exits with 1 where something of the plan is lost for good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store repair caches/stories --dry-run      what would be done
  store repair caches/stories
  store repair caches/stories && harvest run --resume --model mistral-7b \\
      --out caches/stories --site blocks.16.hook_resid_pre

If another copy of the cache is whole, copying the damaged files from there is
quicker than harvesting again.")]
pub(super) struct Repair {
    /// The cache's folder.
    cache: LocalPath,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

impl Repair {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let mut bar = Bar::new("checking");
        let repaired = repair(&self.cache, self.dry_run, &mut |progress| bar.bytes(progress))?;
        drop(bar);
        let printed = self.output.print(stdout, &repaired, |stdout| self.print(&repaired, stdout));
        if !repaired.lost.is_empty() {
            bail!(
                "{}: lost for good: {}. Copy them from another copy of the cache, or plan again into another folder with the same data manifest, tokenizer and settings, which gives the same bytes, and copy them from there",
                self.cache.display(),
                repaired.lost.join(", ")
            );
        }
        Ok(printed?)
    }

    fn print(&self, repaired: &Repaired, stdout: &mut dyn Write) -> std::io::Result<()> {
        let would = if self.dry_run { "would be " } else { "" };
        for repair in &repaired.repairs {
            writeln!(stdout, "{}: {would}{}: {}", repair.path, repair.action, repair.why)?;
        }
        let folder = self.cache.display();
        let shards = counted(repaired.shards as u64, "whole shard");
        if repaired.repairs.is_empty() {
            writeln!(stdout, "{folder}: nothing to repair, {shards}")?;
        } else if repaired.dropped.is_empty() {
            writeln!(stdout, "{folder}: {shards}, none dropped")?;
        } else {
            writeln!(stdout, "{folder}: {shards}; {would}dropped: {}", shards_in_words(&repaired.dropped))?;
        }
        if repaired.missing > 0 {
            let missing = counted(repaired.missing as u64, "planned shard");
            writeln!(stdout, "{missing} to be filled by `harvest run --resume`")?;
        }
        Ok(())
    }
}
