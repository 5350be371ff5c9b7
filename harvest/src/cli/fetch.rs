//! `harvest fetch`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use clap::Args;
use hayloft_harvest::{FetchError, FetchMode, FetchSettings};
use hayloft_hub::{HubSettings, NetworkAccess};
use hayloft_store::LocalPath;

#[derive(Debug, Args)]
#[command(after_help = FETCHING)]
pub struct FetchArguments {
    /// The fetch manifest: which repositories, at which revisions, which files (data-manifests/README.md)
    #[arg(value_name = "MANIFEST")]
    manifest: LocalPath,
    /// The names in the manifest that are wanted [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The folder in which each name gets its own folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: LocalPath,
    /// Use no network: only files fetched before, and those in the Hugging Face cache (HF_HOME)
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
Each name becomes a folder of plain files, ready for `harvest run --model DIR`,
with fetched.json beside them: repository, commit, and size and SHA-256 of each
file. A folder takes its name when all of it is there and its hashes are right.
What was interrupted goes on where it stopped; what is there is left alone,
without a request. Weights that are a pickle (.bin, .pt) are never fetched.

Examples:
  # What would it be, and how large?
  harvest fetch data-manifests/study/fetch.toml --dry-run

  # One model and the instructions, into data/mistral-7b-instruct and
  # data/alpaca
  harvest fetch data-manifests/study/fetch.toml mistral-7b-instruct alpaca \\
      --out data

  # A gated model: accept its terms on its page, then
  HF_TOKEN=hf_… harvest fetch data-manifests/study/fetch.toml gemma-2b \\
      --out data

Environment:
  HF_TOKEN        the access token, sent to the Hub only
                  [default: the token that `hf auth login` saved]
  HF_ENDPOINT     another Hub, or a mirror [default: https://huggingface.co]
  HF_HUB_OFFLINE  1 is the same as --offline
  HF_HOME         where Hugging Face's programs keep token and cache; files in
                  that cache are not downloaded again
                  [default: ~/.cache/huggingface]
  HF_HUB_CACHE    that cache alone [default: $HF_HOME/hub]";

impl TryFrom<FetchArguments> for FetchSettings {
    type Error = FetchError;

    fn try_from(arguments: FetchArguments) -> Result<Self, FetchError> {
        let FetchArguments { manifest, names, out, offline, dry_run, json: _ } = arguments;
        let mut hub = HubSettings::from_environment()?;
        if offline {
            hub.network = NetworkAccess::Offline { said_by: "--offline" };
        }
        let mode = if dry_run { FetchMode::DryRun } else { FetchMode::Fetch };
        Ok(Self { manifest: manifest.into(), out: out.into(), names, mode, hub })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    #[test]
    fn a_fetch_takes_every_entry_into_the_current_folder_by_default() {
        let Command::Fetch(arguments) = Arguments::parse_from(["harvest", "fetch", "f.toml"]).command else {
            panic!("expected a fetch")
        };
        let settings = FetchSettings::try_from(arguments).unwrap();
        assert_eq!((settings.names.len(), settings.out, settings.mode), (0, PathBuf::from("."), FetchMode::Fetch));
    }
}
