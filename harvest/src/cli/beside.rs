//! Being one of several processes.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::time::Duration;

use clap::Args;
use hayloft_harvest::{Processors, Share};
use hayloft_store::{LocalPath, Sharing};

#[derive(Debug, Args)]
pub struct BesideArguments {
    /// Fill the cache beside other processes that do the same, on this or other machines: each takes a shard that nobody has, and
    /// takes over those of processes that died. All need the planned folder on a file system that they share, or --out as
    /// s3://BUCKET/PREFIX (gs://, az://, file:///), where `store push` has put the plan. The one that ends last writes manifest.json
    #[arg(long)]
    share: bool,
    /// Seconds for which another process may be silent before its shard is taken over [default: 120]
    #[arg(long, value_name = "SECONDS", requires = "share", value_parser = lease)]
    lease: Option<Sharing>,
    /// Where shards are written before they are pushed, if --out is in a bucket [default: the folder for temporary files]
    #[arg(long, value_name = "DIR", requires = "share")]
    scratch: Option<LocalPath>,
    /// If --out is in a bucket and no variable names credentials, ask this machine of a cloud for its own, or gcloud's file
    #[arg(long, requires = "share")]
    instance_credentials: bool,
    /// Stop cleanly, as on SIGTERM, when standard input ends: it does when whoever started this with a pipe has died
    #[arg(long)]
    pub stop_on_eof: bool,
    /// Processors to run on, such as 0-15,32-47 [default: all that are allowed]
    #[arg(long, value_name = "LIST")]
    pub processors: Option<Processors>,
}

impl BesideArguments {
    /// How the cache is shared, if it is.
    pub(super) fn share(self) -> Option<Share> {
        let scratch = self.scratch.map_or_else(std::env::temp_dir, Into::into);
        let instance_credentials = self.instance_credentials;
        self.share.then_some(Share { sharing: self.lease.unwrap_or_default(), scratch, instance_credentials })
    }
}

/// A lease of so many seconds.
fn lease(text: &str) -> Result<Sharing, String> {
    let (shortest, longest) = (Sharing::SHORTEST.as_secs(), Sharing::LONGEST.as_secs());
    let seconds = text.parse().ok().filter(|seconds| (shortest..=longest).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("expected whole seconds from {shortest} to {longest}, got {text}"))?;
    Ok(Sharing { lease: Duration::from_secs(seconds) })
}
