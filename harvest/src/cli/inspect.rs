//! `harvest inspect`.

use clap::Args;
use hayloft_store::LocalPath;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Does this checkpoint run? With the weights, each tensor is looked for and hashed too
  harvest inspect gemma-3-4b-it

  # By its id; OWNER/NAME@REVISION for a branch, tag or commit
  harvest inspect google/gemma-3-4b-it

  # A folder with config.json alone will do
  harvest inspect gemma-3-4b-it --json | jq .context_length")]
pub struct InspectArguments {
    /// The checkpoint: its folder, in Hugging Face layout (config.json, and *.safetensors if they are there), or its id on the
    /// Hugging Face Hub, of which the configuration alone is fetched
    #[arg(value_name = "DIR|ID")]
    pub model: LocalPath,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}
