//! `store export`.

use std::io::Write;

use clap::{Args, ValueEnum};
use hayloft_store::convert::{saelens, safetensors};
use hayloft_store::{Dtype, ExportSettings, ExportSummary, LocalPath, SiteName};

use super::bar::Bar;
use super::numbers::{bytes, counted};
use super::output::Output;

/// Write a cache in a format of others: safetensors, or what SAELens reads.
///
/// saelens writes what SAELens reads as its cached activations: a data set of one row a sequence and one column a site,
/// in float32 (which holds bf16 exactly) or float16. Only sequences of the full context length fit into it. safetensors
/// writes one file a shard, with a tensor a site in the type that the cache has, and the tables of tokens
/// with sections, subsets and turns, which SAELens's format does not have.
///
/// The folder is there whole or not at all. A record of the model and of every file, hayloft.json, goes with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store export caches/pile --to saelens --out pile-saelens \\
      --site blocks.16.hook_resid_pre
  store export caches/stories --to safetensors --out stories-safetensors
  store export caches/stories --to safetensors --out stories-f32 --dtype f32 \\
      --json | jq .bytes")]
pub(super) struct Export {
    /// The cache's folder.
    cache: LocalPath,
    /// The format to write.
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,
    /// The folder to write, which must not be there.
    #[arg(long, value_name = "DIR")]
    out: LocalPath,
    /// A site; may be given several times [default: all sites].
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<SiteName>,
    /// The type to write: f32, f16 or, for safetensors, bf16. To a narrower type, values are rounded [default: the cache's;
    /// f32 for bf16 to saelens].
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// For saelens: leave out sequences shorter than the context, and say how many.
    #[arg(long)]
    leave_out_short: bool,
    #[command(flatten)]
    output: Output,
}

/// A format of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One file of tensors a shard.
    Safetensors,
    /// What SAELens reads as its cached activations.
    Saelens,
}

impl Export {
    pub(super) fn run(self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let settings = ExportSettings {
            cache: self.cache.into(),
            out: self.out.into(),
            sites: self.sites,
            dtype: self.dtype,
            leave_out_short: self.leave_out_short,
        };
        let mut bar = Bar::new("exporting");
        let mut progress = |done| bar.tokens(done);
        let summary = match self.to {
            Format::Safetensors => safetensors::export(&settings, &mut progress),
            Format::Saelens => saelens::export(&settings, &mut progress),
        };
        drop(bar);
        let summary = summary?;
        Ok(self.output.print(stdout, &summary, |stdout| writeln!(stdout, "{}", in_words(&summary)))?)
    }
}

fn in_words(summary: &ExportSummary) -> String {
    let left_out = match summary.left_out_sequences {
        0 => String::new(),
        count => format!("; left out as too short: {}", counted(count, "sequence")),
    };
    let rounded = match summary.codec {
        codec if codec.is_lossy() => format!("; of activations that the cache rounded to {codec}"),
        _ => String::new(),
    };
    format!(
        "{}: {} of {} in {}, {}, {} in {}{left_out}{rounded}",
        summary.folder.display(),
        counted(summary.tokens, "token"),
        counted(summary.sequences, "sequence"),
        summary.dtype,
        counted(summary.sites.len() as u64, "site"),
        bytes(summary.bytes),
        counted(summary.files as u64, "file"),
    )
}
