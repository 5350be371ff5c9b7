//! `store verify`.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use hayloft_store::{LocalPath, Report, verify};

use super::bar::Bar;
use super::numbers::{bytes, counted};
use super::output::Output;

/// Check every hash and checksum in a cache.
///
/// Reads every byte of every file that the manifest answers for, decodes every row group, and names each damage by
/// file and row group. Exits with 1 if there is any.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store verify caches/stories
  store verify caches/stories --json | jq -r '.damages[].file'
  store verify caches/stories && rsync -a caches/stories bucket:")]
pub(super) struct Verify {
    /// The cache's folder.
    cache: LocalPath,
    #[command(flatten)]
    output: Output,
}

impl Verify {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let mut bar = Bar::new("verifying");
        let report = verify(&self.cache, &mut |progress| bar.bytes(progress))?;
        drop(bar);
        let printed = self.output.print(stdout, &report, |stdout| print(&report, stdout));
        // Said even where the reader of the list stops before its end.
        if !report.damages.is_empty() {
            let (folder, damages) = (self.cache.display(), counted(report.damages.len() as u64, "damage"));
            bail!(
                "{folder}: not whole: {damages}. Copy the named files from a whole copy of the cache, or run \
                 `store repair {folder}`, which restores what it can and drops what is to be harvested again"
            );
        }
        Ok(printed?)
    }
}

fn print(report: &Report, stdout: &mut dyn Write) -> std::io::Result<()> {
    for damage in &report.damages {
        writeln!(stdout, "DAMAGED {}", damage.problem)?;
    }
    let checked = format!(
        "{}, {}, {}",
        counted(report.files, "file"),
        bytes(report.bytes),
        counted(report.row_groups, "row group"),
    );
    let verdict = match report.damages.len() as u64 {
        0 => "whole".to_owned(),
        damages => counted(damages, "damage"),
    };
    writeln!(stdout, "{verdict}: {checked} checked")
}
