//! Several processes, on any machines, that fill one cache at the same time.
//!
//! A shard is a pure function of the plan, the settings and its number, and is committed by an atomic rename. Two workers
//! that fill the same shard only waste work; this module avoids that.
//!
//! - A **claim** ([`claim`]) is a small file `claims/{shard}.{generation}` that names the worker filling a shard. It is
//!   created only if absent, which both folders and buckets support ([`place`]).
//! - A **lease** ([`leases`]) is a claim that is kept alive: its owner keeps incrementing a counter in it. A waiter times
//!   the counter with its own monotonic clock; if the counter stands still for the length of the lease, the next generation
//!   may be claimed. Clocks are never compared. A process that has ended on the same machine is detected at once.
//! - The **queue** ([`queue`]) hands out the shards that are not claimed.
//! - The **session** ([`session`]) is what all workers must share: the program version and every setting.
//! - A **bucket** (`bucket`, feature `remote`) is filled from a scratch folder: shards are written there and uploaded, and one decision per
//!   shard settles which worker's files it gets.
//!
//! A worker that was suspended for longer than its lease continues normally: no other worker touches its files. If another
//! worker finished the shard first, the late worker's files are dropped.
//!
//! The first worker that finds all planned shards whole writes the manifest and removes the claims.

#[cfg(feature = "remote")]
mod bucket;
#[cfg(not(feature = "remote"))]
#[path = "no_bucket.rs"]
mod bucket;
#[cfg(feature = "remote")]
mod bucket_claims;
mod claim;
mod difference;
mod joining;
mod leases;
mod place;
mod process;
mod queue;
mod session;
mod worker;

pub(crate) use self::queue::Others;
pub(crate) use self::worker::Worker;

use std::time::Duration;

/// How a cache is shared with other workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// How long a claim may stay unchanged before other workers take the shard over. Must exceed any pause of a working
    /// machine or network.
    pub lease: Duration,
}

impl Sharing {
    /// The default lease.
    pub const LEASE: Duration = Duration::from_secs(120);
    /// The shortest lease. With less, a slow disk would look like a dead worker.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// The longest lease. With more, other workers would wait too long for a dead one.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
}

impl Default for Sharing {
    fn default() -> Self {
        Self { lease: Self::LEASE }
    }
}
