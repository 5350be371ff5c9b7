//! Several processes, on any machines, that fill one cache at the same time.
//!
//! A shard is a pure function of the plan, the settings and its number, and is given its name in one step. So two workers that
//! fill the same shard do no harm but to the bill; what is here sees to it that they do not.
//!
//! - A **claim** ([`claim`]) is a small file `claims/{shard}.{generation}` that says who fills a shard. It is made only where there
//!   is none, which folders and buckets both can ([`place`]).
//! - A **lease** ([`leases`]) is a claim that is kept up: its owner counts a number in it up, again and again. Who waits for the
//!   shard watches that number by a clock of its own; where it stands still for the length of the lease, the next generation may be
//!   claimed. No two clocks are ever compared, so that none need agree. A process that has ended on the same machine is seen at
//!   once.
//! - **Turns** ([`turns`]) go through the shards and hand out those that nobody has.
//! - The **session** ([`session`]) is what all workers must have in common: the version of the program and every setting.
//! - A **bucket** ([`bucket`]) is filled from a scratch folder: shards are written there and put up, and it is decided once whose
//!   files a shard gets.
//!
//! A worker that was stopped for longer than its lease goes on as if nothing had happened: nobody has touched its files, and where
//! another was first with the shard, its own are dropped.
//!
//! When all planned shards are there, whoever sees it first writes the manifest and removes the claims.

mod bucket;
mod claim;
mod company;
mod difference;
mod leases;
mod place;
mod process;
pub(crate) mod session;
mod turns;

pub(crate) use self::bucket::Bucket;
pub(crate) use self::claim::worker_name;
pub(crate) use self::company::{Beside, Company, Filled};
pub(crate) use self::leases::Leases;
pub(crate) use self::place::{ClaimPlace, FolderClaims};
pub use self::turns::Turns;

use std::time::Duration;

/// The folder of claims in a cache, and the first part of their names in a bucket.
pub(crate) const CLAIMS_FOLDER: &str = "claims";

/// How a cache is shared with other workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// How long a claim may stand still before others take the shard over: longer than a machine or a network is ever
    /// silent while it works.
    pub lease: Duration,
}

impl Sharing {
    /// The lease, unless another is asked for.
    pub const LEASE: Duration = Duration::from_secs(120);
    /// With a shorter one, a slow disk is taken for a dead worker.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// With a longer one, nobody waits for a dead worker.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
}

impl Default for Sharing {
    fn default() -> Self {
        Self { lease: Self::LEASE }
    }
}
