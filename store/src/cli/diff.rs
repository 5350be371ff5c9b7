//! `store diff`.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use hayloft_store::maintain::{CacheDiff, ValueDiff, diff};
use hayloft_store::{FileRecord, LocalPath};

use super::bar::Bar;
use super::numbers::{bytes, grouped};
use super::output::Output;
use super::placed::shards_in_words;

/// Hexadecimal digits of a hash that are enough to tell one from another on a screen.
const SHORT_HASH: usize = 12;

/// Show in what two caches differ: settings, plan, shards, files, and, if asked, numbers.
///
/// Compares what the caches record, so it is quick. With --values, the files that differ are read, and their words and losses
/// compared. Exits with 0 if the caches are the same and with 1 if they differ; with 1 and nothing on stdout if they could not
/// be compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store diff caches/stories caches/stories-again
  # By how much the numbers differ
  store diff caches/on-gpu caches/on-cpu --values
  store diff a b --json | jq '.values[] | {what, largest_relative}'")]
pub(super) struct Diff {
    /// The one cache.
    a: LocalPath,
    /// The other.
    b: LocalPath,
    /// Compare the numbers in files that differ.
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    output: Output,
}

impl Diff {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let mut bar = Bar::new("comparing");
        let found = diff(&self.a, &self.b, self.values, &mut |progress| bar.bytes(progress))?;
        drop(bar);
        let printed = self.output.print(stdout, &found, |stdout| self.print(&found, stdout));
        // Said even where the reader of the list stops before its end.
        if !found.is_empty() {
            bail!("{} and {} differ", self.a.display(), self.b.display());
        }
        Ok(printed?)
    }

    fn print(&self, found: &CacheDiff, stdout: &mut dyn Write) -> std::io::Result<()> {
        for (what, fields) in [("plan", &found.plan), ("setting", &found.settings)] {
            for field in fields {
                writeln!(stdout, "{what} {}: {} | {}", field.field, field.a, field.b)?;
            }
        }
        for (folder, shards) in [(&self.a, &found.only_a), (&self.b, &found.only_b)] {
            if !shards.is_empty() {
                writeln!(stdout, "only in {}: shards {}", folder.display(), shards_in_words(shards))?;
            }
        }
        for file in &found.files {
            let (a, b) = (record(file.a.as_ref()), record(file.b.as_ref()));
            writeln!(stdout, "shard {}, {}: {a} | {b}", file.shard, file.file)?;
        }
        for values in &found.values {
            writeln!(stdout, "{}", in_words(values))?;
        }
        if found.is_empty() {
            writeln!(stdout, "the same")?;
        }
        Ok(())
    }
}

fn record(file: Option<&FileRecord>) -> String {
    file.map_or_else(
        || "none".to_owned(),
        |file| format!("{} {}", bytes(file.bytes), file.blake3.chars().take(SHORT_HASH).collect::<String>()),
    )
}

fn in_words(values: &ValueDiff) -> String {
    let ValueDiff { shard, what, compared, differing, largest_absolute, largest_relative, first } = values;
    let head = format!("shard {shard}, {what}: {} of {} numbers differ", grouped(*differing), grouped(*compared));
    let Some(first) = first else { return head };
    let dimension = first.dimension.map(|dimension| format!(", dimension {dimension}")).unwrap_or_default();
    format!(
        "{head}, by at most {largest_absolute:.3e}, relative {largest_relative:.3e}; first at sequence {}, position {}{dimension}",
        first.sequence, first.position
    )
}
