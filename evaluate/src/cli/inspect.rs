//! `evaluate inspect` and `evaluate convert`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use hayloft_evaluate::{MOST_REGISTERED, SaeSearch, find_saes};
use hayloft_hub::HubSettings;
use hayloft_runtime::Progress;
use hayloft_sae::{Normalisation, SaeFormat, SaeOptions, Transcoded};
use hayloft_store::LocalPath;

/// What is said of SAEs that their files do not say
#[derive(Debug, Clone, Args)]
pub struct SaeArguments {
    /// The format of the SAEs: saelens, gemma-scope, gemma-scope-2, llama-scope, dictionary-learning, sparsify, qwen-scope,
    /// circuit-tracer, attn-saes, goodfire, openai or llamascopium; for an ae.pt without config.json that both classes fit,
    /// dictionary-learning-topk or dictionary-learning-batchtopk [default: told from the files]
    #[arg(long, value_name = "FORMAT")]
    pub sae_format: Option<SaeFormat>,
    /// How the SAEs' input is normalised, where their files do not say it: expected_average_only_in, constant_norm_rescale or
    /// layer_norm. A file that says otherwise is refused
    #[arg(long, value_name = "NAME")]
    pub sae_normalise: Option<Normalisation>,
    /// The SAEs are transcoders, where their files do not say it; =SITE is what they reconstruct [default: what the name of a
    /// folder of sparsify's says]
    #[arg(long, value_name = "SITE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub transcode: Option<String>,
    /// Most SAEs that a pattern over SAELens's registry may name
    #[arg(long, value_name = "N", default_value_t = MOST_REGISTERED)]
    pub most_saes: usize,
}

impl SaeArguments {
    /// Finds the SAEs that arguments name, fetching what is missing of ids.
    pub fn find(&self, arguments: &[impl AsRef<Path>]) -> Result<Vec<PathBuf>> {
        let (format, most_registered, progress) = (self.sae_format, self.most_saes, Progress::on_stderr());
        Ok(find_saes(arguments, SaeSearch { format, most_registered, progress }, HubSettings::from_environment)?)
    }

    /// What is said of each SAE.
    pub fn options(&self) -> SaeOptions {
        let transcoder = self.transcode.as_ref().map(|site| match site.as_str() {
            "" => Transcoded::Module,
            site => Transcoded::Site(site.to_owned()),
        });
        SaeOptions { format: self.sae_format, normalisation: self.sae_normalise, transcoder }
    }
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  evaluate inspect gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71
  evaluate inspect saes/mistral_7b_layer_8 --sae-normalise constant_norm_rescale
  evaluate inspect saes/base --json | jq .threshold

  # By its name in SAELens's registry, or by its id on the Hugging Face Hub
  evaluate inspect gpt2-small-res-jb/blocks.8.hook_resid_pre
  evaluate inspect EleutherAI/sae-llama-3-8b-32x/layers.24

  # Those that match a pattern, or that are below the folders that match it; of
  # several, --json prints a list
  evaluate inspect 'gemma-scope-2b-pt-res/layer_*'
  evaluate inspect 'saes/base-*' --json | jq '.[].threshold'";

/// What is looked at
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectArguments {
    /// The SAE's folder, or its one file; for several, a quoted pattern such as 'saes/*'. Or RELEASE/ID of SAELens's registry, a
    /// pattern of such names, or OWNER/NAME/PATH of the Hugging Face Hub, which is fetched
    #[arg(value_name = "SAE", required = true)]
    pub saes: Vec<LocalPath>,
    #[command(flatten)]
    pub of_saes: SaeArguments,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

const CONVERT_EXAMPLES: &str = "\
Examples:
  evaluate convert gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71 \\
      --out saes/gemma-scope-20

  # All below a folder, each into a folder of its name
  evaluate convert gemma-scope-2b-pt-res/layer_20 --out saes

What is written reconstructs the same, in float32, and says in its metadata what
it was converted from.";

/// How a converted SAE is written
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SaeLayout {
    Saelens,
    Normalised,
}

/// What is converted
#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct ConvertArguments {
    /// The SAE's folder, or its one file; a folder that holds SAEs, or a quoted pattern such as 'saes/*'; or a name that `evaluate
    /// run --sae` takes
    #[arg(value_name = "SAE")]
    pub sae: LocalPath,
    #[command(flatten)]
    pub of_saes: SaeArguments,
    /// What is written: cfg.json and sae_weights.safetensors, as SAELens reads them, or sae.json and sae.safetensors with the
    /// tensors of the forward pass, into which the particulars of each format are folded
    #[arg(long, value_name = "LAYOUT", default_value = "saelens")]
    pub layout: SaeLayout,
    /// The folder to write into; there must be none yet. Several SAEs go into folders in it
    #[arg(long, value_name = "DIR")]
    pub out: LocalPath,
}
