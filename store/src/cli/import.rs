//! `store import`.

use std::io::Write;

use clap::Args;
use hayloft_store::convert::{saelens, safetensors};
use hayloft_store::{Codec, Dtype, Existing, ImportSettings, ImportSummary, LocalPath, NonFinite, SiteName};

use super::bar::Bar;
use super::export::Format;
use super::numbers::counted;
use super::output::Output;

/// Make a cache of activations that others wrote: SAELens in caching them, or `store export`.
///
/// Every row of a SAELens data set becomes a sequence. Its beginning-of-sequence tokens are in section bos, if it is known
/// which token that is (from --checkpoint or --bos), and all others in text. There are no predictions: evaluate run
/// computes clean losses itself, and does without the model for L0, error and explained variance.
///
/// With --checkpoint, a model that Hayloft runs, the cache knows its model by what it computes. Without it the model is
/// recorded as unknown, and evaluate run refuses to splice into any.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store import activations/pile --from saelens --out caches/pile \\
      --checkpoint mistral-7b
  store import activations/pile --from saelens --out caches/pile --resume
  store import stories-safetensors --from safetensors --out caches/stories")]
pub(super) struct Import {
    /// The folder to import.
    folder: LocalPath,
    /// The format that it is in.
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Format,
    /// The cache's folder, to be made.
    #[arg(long, value_name = "CACHE")]
    out: LocalPath,
    /// Hugging Face folder of the model that the activations come from: config.json, *.safetensors, tokenizer.json.
    #[arg(long, value_name = "MODEL")]
    checkpoint: Option<LocalPath>,
    /// A site; may be given several times [default: all sites].
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<SiteName>,
    /// How to store activations.
    #[arg(long, default_value = "planes")]
    codec: Codec,
    /// The name of the corpus [default: what the folder says].
    #[arg(long)]
    name: Option<String>,
    /// The id of the token that begins sequences [default: what the checkpoint says].
    #[arg(long, value_name = "ID")]
    bos: Option<u32>,
    /// The type that the model ran in: f32, bf16 or f16 [default: what the folder says, else the type of its activations].
    #[arg(long, value_name = "TYPE")]
    precision: Option<Dtype>,
    /// The tokens that a shard is filled up to.
    #[arg(long, default_value_t = 65536, value_name = "N")]
    shard_tokens: u64,
    /// The rows that a row group is filled up to.
    #[arg(long, default_value_t = 4096, value_name = "N")]
    row_group_rows: u32,
    /// Store activations that are NaN or infinite, and count their rows, rather than stop.
    #[arg(long)]
    allow_non_finite: bool,
    /// Go on with an import of the same folder that was interrupted.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    output: Output,
}

impl Import {
    pub(super) fn run(self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let settings = ImportSettings {
            from: self.folder.into(),
            out: self.out.into(),
            checkpoint: self.checkpoint.map(Into::into),
            sites: self.sites,
            codec: self.codec,
            name: self.name,
            bos: self.bos,
            precision: self.precision,
            shard_tokens: self.shard_tokens,
            row_group_rows: self.row_group_rows,
            non_finite: if self.allow_non_finite { NonFinite::Allow } else { NonFinite::Refuse },
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
        };
        let mut bar = Bar::new("importing");
        let mut progress = |done| bar.tokens(done);
        let summary = match self.from {
            Format::Safetensors => safetensors::import(&settings, &mut progress),
            Format::Saelens => saelens::import(&settings, &mut progress),
        };
        drop(bar);
        let summary = summary?;
        Ok(self.output.print(stdout, &summary, |stdout| writeln!(stdout, "{}", in_words(&summary)))?)
    }
}

fn in_words(summary: &ImportSummary) -> String {
    let model = if summary.model_known { "" } else { "; of an unknown model (give --checkpoint to splice)" };
    format!(
        "{}: {} of {} in {}, {}, {}{model}",
        summary.folder.display(),
        counted(summary.tokens, "token"),
        counted(summary.sequences, "sequence"),
        summary.dtype,
        counted(summary.sites.len() as u64, "site"),
        counted(summary.shards as u64, "shard"),
    )
}
