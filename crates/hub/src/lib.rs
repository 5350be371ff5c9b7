//! The Hugging Face Hub: ids of repositories, the cache that every tool shares, and downloads that are checked.
//!
//! ```text
//! argument ─► folder that exists ───────────────────────────────────────────────────────────► folder
//!         └─► id ─► in the cache? ─► listing at one commit ─► files wanted ─► download ─► hashes ─┘ snapshots/COMMIT
//! ```
//!
//! Servers are untrusted: names that leave the folder are refused, hashes are compared, and the token is sent only to
//! the Hub's origin. A file appears in a snapshot when it is complete and its hash is right.

#![warn(missing_debug_implementations, unreachable_pub)]

mod argument;
mod cache;
mod client;
mod digest;
mod error;
mod identifiers;
mod listing;
mod model;
mod repository;
mod settings;
mod sha256;
mod snapshot;
#[cfg(any(test, feature = "test-hub"))]
pub mod test_hub;

pub use argument::{HubFolder, is_path};
pub use cache::CachedRepo;
pub use client::Hub;
pub use client::transfer::{Downloaded, download};
pub use digest::{Expected, Hashing, another_version};
pub use error::{HashSource, HubError, Lacking};
pub use identifiers::{Commit, FileName, RepoId, Revision};
pub use listing::{ListedFile, Listing};
pub use model::{ModelFiles, model_folder};
pub use repository::{NamedIn, RepoKind, Repository};
pub use settings::{Endpoint, HubSettings, NetworkAccess, RetrySettings, Token};
pub use sha256::Sha256;
pub use snapshot::{Choice, Snapshot, View, Wanted, find_files};
