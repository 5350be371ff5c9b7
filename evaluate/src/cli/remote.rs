//! Where what is read from a remote cache is kept.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::path::PathBuf;

use clap::Args;
use hayloft_store::{RemoteOptions, parse_bytes};

#[derive(Debug, Args)]
pub(super) struct RemoteArguments {
    /// Folder for what is read from a remote cache [default: $HAYLOFT_CACHE, or hayloft in the user's folder for caches]
    #[arg(long, value_name = "DIR")]
    cache_folder: Option<PathBuf>,
    /// The most that is kept there; what was used least recently makes room [default: 50GB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    cache_limit: Option<u64>,
}

impl RemoteArguments {
    pub(super) fn options(self) -> RemoteOptions {
        let default = RemoteOptions::default();
        RemoteOptions { folder: self.cache_folder, limit: self.cache_limit.unwrap_or(default.limit), ..default }
    }
}
