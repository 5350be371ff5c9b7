//! The command line of `harvest`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

mod fetch;
mod inspect;
mod plan;
mod rollouts;
mod run;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, value_parser};
use hayloft_harvest::{DataError, StarterManifest};
use hayloft_store::LocalPath;

pub use self::fetch::FetchArguments;
pub use self::inspect::InspectArguments;
pub use self::plan::PlanArguments;
pub use self::rollouts::RolloutArguments;
pub use self::run::RunArguments;

/// Harvest a language model's activations into a cache, once.
#[derive(Debug, Parser)]
#[command(name = "harvest", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  # Bring a checkpoint that a fetch manifest names from the Hugging Face Hub
  # into the folder mistral-7b
  harvest fetch data-manifests/study/fetch.toml mistral-7b

  # A model by its id: fetched into the Hugging Face cache, or found there
  harvest run --model google/gemma-2-2b --data texts.jsonl --context 512 \\
      --out cache --site blocks.12.hook_resid_post

  # Plan and fill a cache in one go
  harvest run --model mistral-7b --data data-manifests/pile-excerpts.toml \\
      --out cache --site blocks.16.hook_resid_pre --dtype bf16 --device cuda

  # See what there is to do before renting a GPU
  harvest plan --model mistral-7b --data data-manifests/pile-excerpts.toml \\
      --out cache

  # For a start, without a data manifest: a file of texts
  harvest run --model gpt2 --data texts.jsonl --context 512 --max-tokens 100000 --out cache --site blocks.6.hook_resid_pre

  # Go on after an interruption: shards that are whole are kept
  harvest run … --resume

  # On four GPUs of this machine, once the cache is planned: a process for each,
  # which share the cache
  for gpu in 0 1 2 3; do
    harvest run --model mistral-7b --out cache --site blocks.16.hook_resid_pre \\
        --device cuda:$gpu --threads 16 --share 2> cuda-$gpu.log &
  done; wait

  # On any number of machines: the same command on each, on a planned folder
  # that all see, or a bucket
  harvest run --model mistral-7b --out /mnt/farm/cache \\
      --site blocks.16.hook_resid_pre --device cuda --share
  harvest run --model mistral-7b --out s3://farm/cache \\
      --site blocks.16.hook_resid_pre --device cuda --share";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a checkpoint is and whether it runs; needs no weights
    Inspect(InspectArguments),
    /// Tokenise and pack documents into token shards; needs no weights
    Plan(PlanArguments),
    /// Run the model over the planned shards, after planning them if need be, and store its activations
    Run(Box<RunArguments>),
    /// Let a chat model answer instructions, and keep its answers
    Rollouts(Box<RolloutArguments>),
    /// Download models, datasets and SAEs from the Hugging Face Hub, each into a plain folder
    Fetch(FetchArguments),
    /// Print a script that completes this command line in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where model and data are.
#[derive(Debug, Args)]
pub struct InputPaths {
    /// The checkpoint: its folder, in Hugging Face layout (config.json, tokenizer.json, *.safetensors), or its id on the Hugging
    /// Face Hub, such as google/gemma-2-2b or google/gemma-2-2b@COMMIT. What the Hub's cache on this machine lacks of an id is
    /// fetched into it; HF_TOKEN, HF_HOME, HF_HUB_OFFLINE and HF_ENDPOINT are as in `harvest fetch --help`
    #[arg(long, value_name = "DIR|ID")]
    pub model: LocalPath,
    /// Where relative paths in the data manifest start [default: the manifest's own folder]
    #[arg(long, value_name = "DIR", requires = "data")]
    pub data_root: Option<LocalPath>,
}

/// Data without a manifest.
#[derive(Debug, Args)]
pub struct StarterArguments {
    /// Plan with data that has no manifest, for a start: --data is then a file, a folder or a pattern of texts, which are joined
    /// and cut into contexts of N tokens. The manifest that this stands for is written beside --out, as OUT.toml
    #[arg(long, value_name = "N", requires = "data", value_parser = value_parser!(u32).range(2..))]
    context: Option<u32>,
    /// With --context, the most tokens that are planned
    #[arg(long, value_name = "N", requires = "context")]
    max_tokens: Option<NonZeroU64>,
}

impl StarterArguments {
    /// Returns the data manifest: `data`, or with `--context` the one that is written for it.
    fn manifest(self, data: PathBuf, out: &Path) -> Result<PathBuf, DataError> {
        let Some(context_length) = self.context else { return Ok(data) };
        StarterManifest { data, context_length, max_tokens: self.max_tokens }.write(out)
    }
}

/// How the plan is cut up.
#[derive(Debug, Args)]
pub struct PlanSizes {
    /// Tokens that a shard is filled up to [default: 65536]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub shard_tokens: Option<u64>,
    /// Rows that a row group, which is also a batch of the forward pass, is filled up to [default: 4096]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub row_group_rows: Option<u32>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn misspelt_words_are_answered_with_the_nearest() {
        for (line, meant) in [
            ("plam --data d", "plan"),
            ("run --modl m", "--model"),
            ("run --model m --out o --site blocks.{1,2}.hook_resid_pos", "blocks.{1,2}.hook_resid_post?"),
            ("run --model m --out o --site blocks.1.hook_resid_pre --codec plane", "planes?"),
            ("run --model m --out o --site blocks.1.hook_resid_pre --logits losses", "loss?"),
            ("run --model m --out o --site blocks.1.hook_resid_pre --dtype bfloat", "bfloat16?"),
        ] {
            let error = Arguments::try_parse_from(["harvest"].into_iter().chain(line.split(' '))).unwrap_err();
            assert!(error.to_string().contains(meant), "{line}: {error}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        hayloft_store::check_arguments(&Arguments::command());
    }
}
