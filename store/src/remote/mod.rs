//! Caches in buckets and on web servers: push, pull, and reads through a bounded local folder.
//!
//! Objects are named like the files of a cache folder, so any tool that copies folders to buckets works both ways. Only
//! `manifest.json` is ever replaced by other bytes. `plan.json` and each shard's `shard.json` are written first, and only if
//! absent: each is a claim whose hashes fix the bytes of the other files. `manifest.json` comes last, as a conditional
//! update of the version it was made from, so concurrent pushes do not undo each other. Before the first such write, an
//! empty object tests whether the service honours conditions.

#[cfg(feature = "cli")]
mod arguments;
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

#[cfg(feature = "cli")]
pub use arguments::{PlaceParser, check_arguments};
pub use environment::Environment;
pub use location::Location;
pub(crate) use mirror::Mirror;
pub use options::{RemoteOptions, parse_bytes};
pub use place::{LocalPath, Place};
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
pub use selection::{PullSelection, ShardRange};
pub use traffic::{Moved, Traffic};

pub(crate) use blocking::Remote;
// Used by workers that fill a bucket.
#[cfg(feature = "workers")]
pub(crate) use landing::{land, plan_table_place};
#[cfg(feature = "workers")]
pub(crate) use push::manifest::put_whole_manifest;
#[cfg(feature = "workers")]
pub(crate) use workers::in_parallel;
