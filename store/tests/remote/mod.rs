//! Caches at a real S3 server on loopback that fails now and then.

mod advice;
mod conditions;
mod faults;
mod places;
mod pulling;
mod pushing;
mod reading;
mod server;
mod sharing;
mod stalls;

use std::path::Path;
use std::time::Duration;

use hayloft_store::{Codec, Dtype, Environment, Location, Moved, PullSelection, Pulled, Pushed, RemoteOptions, Result};
use server::{BUCKET, Server};

/// An object of each kind: activations, a shard's table and record, a planned shard's table, the plan and the manifest.
const OBJECTS: [&str; 6] = [
    "shards/00001/blocks.3.hook_resid_pre.parquet",
    "shards/00001/tokens.parquet",
    "shards/00001/shard.json",
    "plan/00002/tokens.parquet",
    "plan.json",
    "manifest.json",
];

/// Options for a server that answers, however long it takes. One that may not needs a shorter time.
fn options(server: &Server) -> RemoteOptions {
    RemoteOptions {
        environment: Environment::Given(server.environment()),
        folder: None,
        limit: 1 << 20,
        instance_credentials: false,
        budget: Duration::from_secs(60),
        timeout: Duration::from_secs(120),
        pause: Duration::from_millis(5),
        part_bytes: 8 << 20,
        jobs: 4,
    }
}

fn location(prefix: &str) -> Location {
    format!("s3://{BUCKET}/{prefix}").parse().unwrap()
}

fn push(folder: &Path, prefix: &str, options: &RemoteOptions) -> Result<Pushed> {
    hayloft_store::push(folder, &location(prefix), options, &|_: Moved| ())
}

fn pull(prefix: &str, folder: &Path, selection: &PullSelection, options: &RemoteOptions) -> Result<Pulled> {
    hayloft_store::pull(&location(prefix), folder, selection, options, &|_: Moved| ())
}

/// A small cache in a separate folder.
fn cache() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    crate::support::harvest(folder.path(), &crate::support::settings(Dtype::Bf16, Codec::PLANES));
    folder
}

/// The objects below a prefix, as they lie on the server's disk.
fn objects(server: &Server, prefix: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    crate::support::files_below(&server.bucket().join(prefix))
}
