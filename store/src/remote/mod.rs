//! Caches at other places than this machine: pushed there, pulled from there, and read from there through a bounded
//! local folder.
//!
//! Objects have the names that files have in a cache's folder, so that any tool that copies folders to buckets works both
//! ways. No object but `manifest.json` is ever replaced by other bytes: `plan.json` and each shard's `shard.json` are
//! written first, and only where there is none, as a claim that says by its hashes which bytes the other files have.
//! `manifest.json` comes last, and only over the version that it was made from, so that of two who push at the same time
//! neither undoes what the other did. Before the first such write, an empty object shows whether the service keeps conditions.

mod blocking;
mod cause;
mod connect;
mod credentials;
mod download;
mod environment;
mod failure;
pub(crate) mod file_cache;
mod landing;
mod location;
mod mirror;
mod options;
mod place;
mod pull;
mod push;
mod requests;
mod selection;
mod traffic;
mod workers;

pub use environment::Environment;
pub use location::Location;
pub(crate) use mirror::Mirror;
pub use options::{RemoteOptions, parse_bytes};
pub use place::{LocalPath, Place, check_arguments};
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
pub use selection::{PullSelection, ShardRange};
pub use traffic::{Moved, Traffic};

// What filling a bucket beside others is made of.
pub(crate) use blocking::Remote;
pub(crate) use landing::{land, plan_table_place};
pub(crate) use push::manifest::put_whole_manifest;
pub(crate) use workers::in_parallel;
