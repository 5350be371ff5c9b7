//! `harvest plan`.

use std::path::PathBuf;

use clap::Args;
use hayloft_harvest::{DataError, PlanSettings};
use hayloft_store::LocalPath;

use super::{InputPaths, PlanSizes, StarterArguments};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  harvest plan --model stories260K --data data-manifests/stories260K-eval.toml \\
      --out cache --json

  # Conversations, one a row, with a section for every token: a data manifest
  # with [chat].
  # Look at the first two to see whether the chat template does what it should
  harvest plan --model mistral-7b-instruct \\
      --data data-manifests/alpaca-mistral-rollouts.toml --out cache --show 2")]
pub struct PlanArguments {
    #[command(flatten)]
    paths: InputPaths,
    /// Folder of the cache; `store push` then puts the plan into a bucket
    #[arg(long, value_name = "DIR")]
    out: LocalPath,
    /// The data manifest: which documents, and how they become sequences (data-manifests/README.md); with --context, data
    #[arg(long, value_name = "FILE")]
    data: LocalPath,
    #[command(flatten)]
    starter: StarterArguments,
    #[command(flatten)]
    sizes: PlanSizes,
    /// Print the first N sequences too, section by section, so that a chat template can be checked by eye
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show: u64,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

impl TryFrom<PlanArguments> for PlanSettings {
    type Error = DataError;

    fn try_from(arguments: PlanArguments) -> Result<Self, DataError> {
        let PlanArguments { paths, out, data, starter, sizes, show: _, json: _ } = arguments;
        let out = PathBuf::from(out);
        Ok(Self {
            model: paths.model.into(),
            data: starter.manifest(data.into(), &out)?,
            data_root: paths.data_root.map(Into::into),
            out,
            shard_tokens: sizes.shard_tokens.unwrap_or(Self::SHARD_TOKENS),
            row_group_rows: sizes.row_group_rows.unwrap_or(Self::ROW_GROUP_ROWS),
        })
    }
}
