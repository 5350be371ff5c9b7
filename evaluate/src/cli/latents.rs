//! `evaluate latents`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hayloft_evaluate::{LatentChoice, LatentsSettings, RunSettings, WeightsChoice};
use hayloft_model::{Site, parse_device};
use hayloft_runtime::Part;
use hayloft_store::maintain::NumberRange;
use hayloft_store::{LocalPath, Place};

use super::inspect::SaeArguments;
use super::remote::RemoteArguments;
use super::rows::RowArguments;

const EXAMPLES: &str = "\
Examples:
  # Counts, histograms, examples and similar latents of several SAEs, in one pass
  evaluate latents --cache cache --sae saes/base --sae saes/chat --out latents

  # With the texts of tokens; only what the chat model answered
  evaluate latents --cache alpaca --sae saes/chat --tokenizer mistral-7b-instruct \\
      --section rollout --out latents

  # With the tokens whose logits each latent raises and lowers
  evaluate latents --cache cache --sae saes/base --model mistral-7b --out latents

  # Counts alone, of every token; then more examples of three latents
  evaluate latents --cache cache --sae saes/base --top 0 --sampled 0 --out counts
  evaluate latents --cache cache --sae saes/base --latents 7,100..102 --top 200 \\
      --out three

  # In two processes or machines, each with half of the shards
  evaluate latents --cache cache --sae saes/base --part 0/2 --out parts
  evaluate latents --cache cache --sae saes/base --part 1/2 --out parts
  evaluate merge parts --out latents

  # The latents that fire most in rollouts compared to elsewhere
  duckdb -c \"select latent, s.density / density as ratio \\
      from 'latents/latents.parquet', unnest(sections) as u(s) \\
      where s.section = 'rollout' and firings >= 100 order by ratio desc limit 20\"

docs/latents.md defines the columns of both files.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LatentsArguments {
    /// Folder of the cache, or its location, such as s3://farm/stories
    #[arg(long, value_name = "DIR|URL")]
    cache: Place,
    #[command(flatten)]
    remote: RemoteArguments,
    /// An SAE, as `evaluate run --sae` takes one: a folder or file, a folder that holds SAEs, a quoted pattern, RELEASE/ID of
    /// SAELens's registry or OWNER/NAME/PATH of the Hugging Face Hub. May be given several times
    #[arg(long = "sae", value_name = "PATH|ID", required = true)]
    saes: Vec<LocalPath>,
    #[command(flatten)]
    pub of_saes: SaeArguments,
    /// The site, such as blocks.16.hook_resid_pre [default: the one that the SAEs name]
    #[arg(long, value_name = "SITE")]
    site: Option<Site>,
    #[command(flatten)]
    pub rows: RowArguments,
    /// The weights that the SAEs were trained on: as-stored, or centred, TransformerLens's center_writing_weights [default: what
    /// the SAEs' configurations say]
    #[arg(long, value_name = "WEIGHTS")]
    weights: Option<WeightsChoice>,
    /// Which of the cache's shards to read, by their numbers: A..B (without B), A.. or ..B [default: all]
    #[arg(long, value_name = "RANGE")]
    shards: Option<NumberRange>,
    /// Read only this part of these shards, and write what `evaluate merge` puts together: part I, from 0, of N
    #[arg(long, value_name = "I/N", conflicts_with = "delphi")]
    pub part: Option<Part>,
    /// The model that the cache was harvested from, a folder or an id: lists the tokens whose logits each latent raises and
    /// lowers, by its decoder direction through the final norm and the unembedding. The model is not run
    #[arg(long, value_name = "DIR|ID")]
    model: Option<LocalPath>,
    /// List so many tokens whose logits each latent raises, and as many that it lowers
    #[arg(long, value_name = "N", default_value_t = LatentsSettings::LOGIT_TOKENS, requires = "model")]
    logit_tokens: usize,
    /// Take the contribution of these latents out of the residual, one at a time, where it fires, and measure the change of the
    /// model's loss there: numbers and ranges A..B, separated by commas. Each is a run of the model above the site
    #[arg(long, value_name = "LATENTS", requires = "model")]
    ablate: Option<LatentChoice>,
    /// The cache's tokenizer, for the texts of tokens and for --exclude special: the folder of the checkpoint that the cache was
    /// harvested from, or its id on the Hugging Face Hub [default: that of --model; without it, ids alone]
    #[arg(long, value_name = "DIR|ID")]
    tokenizer: Option<LocalPath>,
    /// Examples of each latent: its firings with the largest activations
    #[arg(long, value_name = "N", default_value_t = LatentsSettings::EXAMPLES)]
    top: usize,
    /// Examples of each latent: a sample of its firings, spread evenly over their quantiles
    #[arg(long, value_name = "N", default_value_t = LatentsSettings::EXAMPLES)]
    sampled: usize,
    /// Latents that have examples: numbers and ranges A..B (without B), separated by commas [default: all]
    #[arg(long, value_name = "LATENTS")]
    latents: Option<LatentChoice>,
    /// Tokens of an example's context, before it and after it
    #[arg(long, value_name = "TOKENS", default_value_t = LatentsSettings::WINDOW)]
    window: u32,
    /// List so many latents with the nearest decoder directions for each
    #[arg(long, value_name = "N", default_value_t = LatentsSettings::SIMILAR)]
    nearest: usize,
    /// List so many latents that fire at the same tokens for each
    #[arg(long, value_name = "N", default_value_t = LatentsSettings::SIMILAR)]
    cofiring: usize,
    /// What all samples come from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of the kernels and of hashing [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Also write every firing as delphi's latent cache to this folder: it explains and scores latents without the model
    #[arg(long, value_name = "DIR")]
    delphi: Option<LocalPath>,
    /// Folder for latents.parquet and examples.parquet, or for latents-part-I-of-N.safetensors with --part
    #[arg(long, value_name = "DIR")]
    out: LocalPath,
    /// Print the summary as JSON in place of the tables
    #[arg(long)]
    pub json: bool,
}

impl LatentsArguments {
    /// What is asked for, on a device that is there. SAEs and tokenizer are as they are named.
    pub fn settings(self) -> Result<LatentsSettings> {
        let saes = self.saes.into_iter().map(Into::into).collect();
        let defaults = LatentsSettings::new(self.cache.into_path(), saes, self.out);
        let model: Option<PathBuf> = self.model.map(Into::into);
        Ok(LatentsSettings {
            run: RunSettings {
                model: model.clone().filter(|_| self.ablate.is_some()),
                remote: self.remote.options(),
                tokenizer: self.tokenizer.map(Into::into),
                sae_options: self.of_saes.options(),
                site: self.site,
                sections: self.rows.sections,
                outlier_norm: self.rows.outlier_norm,
                exclude: self.rows.exclude,
                weights: self.weights.unwrap_or_default(),
                scale: self.rows.scale.unwrap_or_default(),
                device: parse_device(&self.device)?,
                ..defaults.run
            },
            shards: self.shards.unwrap_or_default(),
            top: self.top,
            sampled: self.sampled,
            examples_of: self.latents,
            window: self.window,
            nearest: self.nearest,
            logits_of: model,
            ablate: self.ablate,
            logit_tokens: self.logit_tokens,
            cofiring: self.cofiring,
            seed: self.seed,
            delphi: self.delphi.map(Into::into),
            out: defaults.out,
        })
    }
}
