//! Where what is read from a remote cache is kept.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use clap::Args;
use hayloft_store::{LocalPath, RemoteOptions, parse_bytes};

#[derive(Debug, Args)]
pub(super) struct RemoteArguments {
    /// Folder for what is read from a remote cache [default: $HAYLOFT_CACHE, or hayloft in the user's folder for caches]
    #[arg(long, value_name = "DIR")]
    cache_folder: Option<LocalPath>,
    /// The most that is kept there; what was used least recently makes room [default: 50GB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    cache_limit: Option<u64>,
    /// Where no variable names credentials for a remote cache, ask this machine of a cloud for its own, or gcloud's file
    #[arg(long)]
    instance_credentials: bool,
}

impl RemoteArguments {
    pub(super) fn options(self) -> RemoteOptions {
        let default = RemoteOptions::default();
        RemoteOptions {
            folder: self.cache_folder.map(Into::into),
            limit: self.cache_limit.unwrap_or(default.limit),
            instance_credentials: self.instance_credentials,
            ..default
        }
    }
}
