//! `evaluate inspect` and `evaluate convert`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use clap::Args;
use hayloft_sae::SaeFormat;
use hayloft_store::LocalPath;

const INSPECT_EXAMPLES: &str = "\
Examples:
  evaluate inspect gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71
  evaluate inspect saes/pythia/ae.pt --sae-format openai
  evaluate inspect saes/base --json | jq .threshold

  # All below a folder, or those that match a pattern; of several, --json prints
  # a list
  evaluate inspect gemma-scope-2b-pt-res/layer_20
  evaluate inspect 'saes/base-*' --json | jq '.[].threshold'";

/// What is looked at
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectArguments {
    /// The SAE's folder, or its one file; a folder that holds SAEs, or a quoted pattern such as 'saes/*'
    #[arg(value_name = "SAE", required = true)]
    pub saes: Vec<LocalPath>,
    /// Its format: saelens, gemma-scope, gemma-scope-2, llama-scope, dictionary-learning, sparsify, openai or llamascopium
    /// [default: told from the files]
    #[arg(long, value_name = "FORMAT")]
    pub sae_format: Option<SaeFormat>,
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

/// What is converted
#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct ConvertArguments {
    /// The SAE's folder, or its one file; a folder that holds SAEs, or a quoted pattern such as 'saes/*'
    #[arg(value_name = "SAE")]
    pub sae: LocalPath,
    /// Its format [default: told from the files]
    #[arg(long, value_name = "FORMAT")]
    pub sae_format: Option<SaeFormat>,
    /// The folder to write cfg.json and sae_weights.safetensors into; there must be none yet. Several SAEs go into folders in it
    #[arg(long, value_name = "DIR")]
    pub out: LocalPath,
}
