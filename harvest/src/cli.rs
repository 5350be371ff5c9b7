//! The command line of `harvest`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};
use hayloft_harvest::{
    FetchError, FetchMode, FetchSettings, HubSettings, Logits, PlanSettings, Reach, RolloutSettings, RunSettings,
    ShardRange,
};
use hayloft_model::{ModelError, Precision, Sampling, Site, parse_device};
use hayloft_store::{Codec, Existing, NonFinite};

/// Harvest a language model's activations into a cache, once.
#[derive(Debug, Parser)]
#[command(name = "harvest", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  # Bring a checkpoint that a fetch manifest names from the Hugging Face Hub into the folder mistral-7b
  harvest fetch data-manifests/study/fetch.toml mistral-7b

  # Plan and fill a cache in one go
  harvest run --model mistral-7b --data data-manifests/pile-excerpts.toml --out cache \\
      --site blocks.16.hook_resid_pre --dtype bf16 --device cuda

  # See what there is to do before renting a GPU
  harvest plan --model mistral-7b --data data-manifests/pile-excerpts.toml --out cache

  # Go on after an interruption: shards that are whole are kept
  harvest run … --resume

  # Share the shards of one plan between two machines, each with a copy of the planned folder
  harvest run --model mistral-7b --out cache --site blocks.16.hook_resid_pre --shards 0..50
  harvest run --model mistral-7b --out cache --site blocks.16.hook_resid_pre --shards 50..";

#[derive(Debug, Subcommand)]
pub enum Command {
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

/// Where data and cache are.
#[derive(Debug, Args)]
pub struct Places {
    /// Folder of the checkpoint, in Hugging Face layout: config.json, tokenizer.json, *.safetensors
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Folder of the cache
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where relative paths in the data manifest start [default: the manifest's own folder]
    #[arg(long, value_name = "DIR", requires = "data")]
    pub data_root: Option<PathBuf>,
}

/// How the plan is cut up.
#[derive(Debug, Args)]
pub struct Cutting {
    /// Tokens that a shard is filled up to [default: 65536]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub shard_tokens: Option<u64>,
    /// Rows that a row group, which is also a batch of the forward pass, is filled up to [default: 4096]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub row_group_rows: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  harvest plan --model stories260K --data data-manifests/stories260K-eval.toml --out cache --json

  # Conversations, one a row, with a section for every token: a data manifest with [chat].
  # Look at the first two to see whether the chat template does what it should
  harvest plan --model mistral-7b-instruct --data data-manifests/alpaca-mistral-rollouts.toml --out cache --show 2")]
pub struct PlanArguments {
    #[command(flatten)]
    places: Places,
    /// The data manifest: which documents, and how they become sequences (data-manifests/README.md)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    cutting: Cutting,
    /// Print the first N sequences too, section by section, so that a chat template can be checked by eye
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show: u64,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArguments {
    #[command(flatten)]
    places: Places,
    /// The data manifest; may be left out where the cache is planned already
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    cutting: Cutting,
    /// A site to keep, such as blocks.16.hook_resid_pre; may be given several times
    #[arg(long = "site", value_name = "SITE", required = true)]
    sites: Vec<Site>,
    /// How activations are stored: planes (lossless, a third smaller) or raw
    #[arg(long, default_value = "planes")]
    codec: Codec,
    /// What the model runs in and activations are stored in: f32, bf16 or f16 [default: the checkpoint's]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Precision>,
    /// Where the model runs: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What to keep of the predictions: none, loss (label loss, logsumexp, entropy), or top=K (and the K highest logits)
    #[arg(long, default_value_t)]
    logits: Logits,
    /// Which of the planned shards to fill: A..B (without B), A.. or ..B [default: all]
    #[arg(long, value_name = "RANGE")]
    shards: Option<ShardRange>,
    /// Go on with a cache that has shards already; those that are whole are kept
    #[arg(long)]
    resume: bool,
    /// Store activations that are NaN or infinite, and count them, in place of stopping
    #[arg(long)]
    allow_non_finite: bool,
    /// Threads of the model's kernels, and of tokenising and encoding [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print the final summary as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

impl From<PlanArguments> for PlanSettings {
    fn from(arguments: PlanArguments) -> Self {
        let PlanArguments { places, data, cutting, show: _, json: _ } = arguments;
        Self {
            model: places.model,
            data,
            data_root: places.data_root,
            out: places.out,
            shard_tokens: cutting.shard_tokens.unwrap_or(Self::SHARD_TOKENS),
            row_group_rows: cutting.row_group_rows.unwrap_or(Self::ROW_GROUP_ROWS),
        }
    }
}

impl RunArguments {
    /// What is asked for, on a device that is there.
    pub fn settings(self) -> Result<RunSettings, ModelError> {
        Ok(RunSettings {
            model: self.places.model,
            data: self.data,
            data_root: self.places.data_root,
            out: self.places.out,
            shard_tokens: self.cutting.shard_tokens,
            row_group_rows: self.cutting.row_group_rows,
            sites: self.sites,
            codec: self.codec,
            precision: self.dtype,
            device: parse_device(&self.device)?,
            logits: self.logits,
            shards: self.shards.unwrap_or_default(),
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
            non_finite: if self.allow_non_finite { NonFinite::Allow } else { NonFinite::Refuse },
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = ROLLOUTS)]
pub struct RolloutArguments {
    /// Folder of the chat model, in Hugging Face layout: config.json, tokenizer.json, *.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The data manifest, with a [chat] table: which instructions, and in which template (data-manifests/README.md)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where relative paths in the data manifest start [default: the manifest's own folder]
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// The Parquet file to write; finished batches are kept in FILE.parts until all are there
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = RolloutSettings::MAX_NEW_TOKENS)]
    max_new_tokens: NonZeroUsize,
    /// Draw tokens at random, with logits divided by T; 0 is the same as not at all [default: greedy, or 1 with --top-p]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Draw from the fewest most likely tokens whose probabilities add up to P [default: 1, from all of them]
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// What decides the random numbers; each row has its own, whatever the batches
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Text of a token that ends an answer; may be given several times [default: end_of_turn of the data manifest, else
    /// eos_token and eos_token_id of the checkpoint and the token that its template ends a turn with]
    #[arg(long, value_name = "TOKEN")]
    stop: Vec<String>,
    /// The most tokens of a batch, padding and room for new tokens counted in: the memory that keys and values take
    #[arg(long, value_name = "N", default_value_t = RolloutSettings::BATCH_TOKENS)]
    batch_tokens: NonZeroUsize,
    /// What the model runs in: f32, bf16 or f16. In f32 answers do not depend on batches [default: the checkpoint's]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Precision>,
    /// Where the model runs: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of the model's kernels, and of tokenising [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Only the first N of the selected rows
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Go on where an earlier run with the same settings stopped
    #[arg(long)]
    resume: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

const ROLLOUTS: &str = "\
The file has the columns row, instruction, prompt, prompt_token_ids, rollout, rollout_token_ids and finish_reason (stop,
length or context). A data manifest with [chat] that names it takes its token ids as they are: nothing is tokenised twice.

Examples:
  # The study's: greedy, at most 64 tokens
  harvest rollouts --model mistral-7b-instruct --data data-manifests/study/alpaca.toml --out rollouts.parquet \\
      --device cuda

  # Sampled; the same seed gives the same answers
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml --out sampled.parquet \\
      --temperature 0.7 --top-p 0.95 --seed 1

  # Have a look at five first
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml --out five.parquet --limit 5";

impl RolloutArguments {
    /// What is asked for, on a device that is there.
    pub fn settings(self) -> Result<RolloutSettings, ModelError> {
        let sampling = match (self.temperature, self.top_p) {
            (None, None) => Sampling::Greedy,
            (Some(0.0), _) => Sampling::Greedy,
            (temperature, top_p) => Sampling::Random {
                temperature: temperature.unwrap_or(1.0),
                top_p: top_p.unwrap_or(1.0),
                seed: self.seed,
            },
        };
        Ok(RolloutSettings {
            model: self.model,
            data: self.data,
            data_root: self.data_root,
            out: self.out,
            max_new_tokens: self.max_new_tokens,
            sampling,
            stop: self.stop,
            batch_tokens: self.batch_tokens,
            precision: self.dtype,
            device: parse_device(&self.device)?,
            limit: self.limit,
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = FETCHING)]
pub struct FetchArguments {
    /// The fetch manifest: which repositories, at which revisions, which files (data-manifests/README.md)
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// The names in the manifest that are wanted [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The folder in which each name gets a folder of its own
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Ask no server: use what is there, and what Hugging Face's own programs have in their cache (HF_HOME)
    #[arg(long)]
    offline: bool,
    /// Ask the Hub, and say what would be downloaded and how large it is; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the summary, with each file's size and SHA-256, as JSON
    #[arg(long)]
    pub json: bool,
}

const FETCHING: &str = "\
Each name becomes a folder of plain files, ready for `harvest run --model DIR`, with fetched.json
beside them: repository, commit, and size and SHA-256 of each file. A folder takes its name when
all of it is there and its hashes are right. What was interrupted goes on where it stopped; what
is there is left alone, without a request. Weights that are a pickle (.bin, .pt) are never fetched.

Examples:
  # What would it be, and how large?
  harvest fetch data-manifests/study/fetch.toml --dry-run

  # One model and the instructions, into data/mistral-7b-instruct and data/alpaca
  harvest fetch data-manifests/study/fetch.toml mistral-7b-instruct alpaca --out data

  # A gated model: accept its terms on its page, then
  HF_TOKEN=hf_… harvest fetch data-manifests/study/fetch.toml gemma-2b --out data

Environment:
  HF_TOKEN        who asks [default: the token that `hf auth login` saved]; sent to the Hub only
  HF_ENDPOINT     another Hub, or a mirror [default: https://huggingface.co]
  HF_HUB_OFFLINE  1 is the same as --offline
  HF_HOME         where Hugging Face's programs keep token and cache; files in that cache are not
                  downloaded again [default: ~/.cache/huggingface]
  HF_HUB_CACHE    that cache alone [default: $HF_HOME/hub]";

impl TryFrom<FetchArguments> for FetchSettings {
    type Error = FetchError;

    fn try_from(arguments: FetchArguments) -> Result<Self, FetchError> {
        let FetchArguments { manifest, names, out, offline, dry_run, json: _ } = arguments;
        let mut hub = HubSettings::from_variables(|name| std::env::var(name).ok())?;
        if offline {
            hub.reach = Reach::Offline { said_by: "--offline" };
        }
        let mode = if dry_run { FetchMode::DryRun } else { FetchMode::Fetch };
        Ok(Self { manifest, out, names, mode, hub })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_run_has_defaults() {
        let words = ["harvest", "run", "--model", "m", "--out", "c", "--site", "blocks.1.hook_resid_pre"];
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("expected a run") };
        let settings = arguments.settings().unwrap();
        assert_eq!(settings.codec, Codec::Planes);
        assert_eq!(settings.logits.to_string(), "top=64");
        assert_eq!(settings.shards, ShardRange::default());
        assert_eq!((settings.existing, settings.non_finite), (Existing::Refuse, NonFinite::Refuse));
        assert_eq!((settings.precision, settings.data), (None, None));
    }

    #[test]
    fn a_fetch_is_of_everything_into_the_folder_one_is_in() {
        let Command::Fetch(arguments) = Arguments::parse_from(["harvest", "fetch", "f.toml"]).command else {
            panic!("expected a fetch")
        };
        let settings = FetchSettings::try_from(arguments).unwrap();
        assert_eq!((settings.names.len(), settings.out, settings.mode), (0, PathBuf::from("."), FetchMode::Fetch));
    }

    #[test]
    fn rollouts_are_greedy_unless_they_are_sampled() {
        let sampling = |flags: &str| {
            let words = "harvest rollouts --model m --data d.toml --out r.parquet ".to_owned() + flags;
            let Command::Rollouts(arguments) = Arguments::parse_from(words.split_whitespace()).command else {
                panic!("expected rollouts")
            };
            arguments.settings().unwrap().sampling
        };
        assert_eq!(sampling("--seed 3"), Sampling::Greedy);
        assert_eq!(sampling("--temperature 0 --top-p 0.5"), Sampling::Greedy);
        assert_eq!(sampling("--temperature 0.7"), Sampling::Random { temperature: 0.7, top_p: 1.0, seed: 0 });
        assert_eq!(sampling("--top-p 0.9 --seed 4"), Sampling::Random { temperature: 1.0, top_p: 0.9, seed: 4 });
    }

    #[test]
    fn bad_values_are_refused_with_what_is_expected() {
        for (flag, value, words) in [
            ("--site", "blocks.x.hook_resid_pre", "blocks.L.hook_resid_pre"),
            ("--logits", "all", "none, loss or top=K"),
            ("--shards", "3", "A..B"),
            ("--dtype", "int8", "f32, bf16 or f16"),
            ("--codec", "zip", "planes"),
            ("--shard-tokens", "0", "1.."),
            ("--threads", "0", "zero"),
        ] {
            let words_given =
                ["harvest", "run", "--model", "m", "--out", "c", "--site", "blocks.1.hook_resid_pre", flag, value];
            let message = Arguments::try_parse_from(words_given).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
