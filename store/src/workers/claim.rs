//! The contents of a claim: which worker fills a shard, and a counter that shows it is alive.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sharing;
use super::process::Process;
use crate::format::plan::shard_name;
use crate::format::shard_record::CLAIMS_FOLDER;

/// A claim on a shard, as stored in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClaimRecord {
    /// The unique name of the worker.
    pub(crate) worker: String,
    pub(crate) process: Process,
    /// How long the claim may stay unchanged before it expires.
    pub(crate) lease_seconds: f64,
    /// Incremented for as long as the shard is being filled.
    pub(crate) beat: u64,
    /// The worker has given the shard up.
    pub(crate) released: bool,
}

impl ClaimRecord {
    /// Parses a claim; `None` if the file is not written yet or its writer was killed.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Strings and finite numbers always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether no worker needs to wait for it.
    pub(crate) fn is_over(&self) -> bool {
        self.released || self.process.has_ended()
    }

    /// Whether its worker is known to have ended and has a valid name, by which its unfinished files are found.
    pub(crate) fn is_of_the_dead(&self) -> bool {
        self.process.has_ended() && is_worker_name(&self.worker)
    }

    /// How long it may stay unchanged, within the bounds of `Sharing`.
    pub(crate) fn lease(&self) -> Duration {
        let seconds = self.lease_seconds;
        let asked = if seconds.is_finite() { seconds } else { 0.0 };
        Duration::from_secs_f64(asked.clamp(Sharing::SHORTEST.as_secs_f64(), Sharing::LONGEST.as_secs_f64()))
    }

    /// The worker's process and machine, for messages.
    pub(crate) fn holder(&self) -> String {
        format!("process {} on {}", self.process.pid, self.process.host)
    }
}

/// The name of a shard's claim of one generation, relative to the cache.
pub(crate) fn claim_name(shard: usize, generation: u32) -> String {
    format!("{CLAIMS_FOLDER}/{}.{generation}", shard_name(shard))
}

/// Whether a name read from a file can be a worker's, and is safe as part of a file name.
pub(crate) fn is_worker_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|letter| letter.is_ascii_alphanumeric())
}

/// A unique worker name: a hash of the process, folder and time.
pub(crate) fn worker_name(folder: &Path) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static WORKERS: AtomicU64 = AtomicU64::new(0);
    let number = WORKERS.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let process = Process::this();
    let words = format!("{process:?} {} {number} {}", folder.display(), now.as_nanos());
    blake3::hash(words.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_comes_back_and_what_is_none_is_not_taken_for_one() {
        let claim = ClaimRecord {
            worker: "a".to_owned(),
            process: Process::this(),
            lease_seconds: 120.0,
            beat: 3,
            released: false,
        };
        assert_eq!(ClaimRecord::read(&claim.to_bytes()), Some(claim.clone()));
        assert!(!claim.is_over());
        assert!(ClaimRecord { released: true, ..claim }.is_over());
        for bytes in [b"".as_slice(), b"{", b"[1]", b"{\"worker\":\"a\"}", b"\xff\xff"] {
            assert_eq!(ClaimRecord::read(bytes), None);
        }
    }

    #[test]
    fn a_lease_is_bounded_whatever_its_file_says() {
        let process = Process::this();
        for (seconds, expected) in [(5.0, 5.0), (0.0, 1.0), (-3.0, 1.0), (1e300, 86400.0), (f64::NAN, 1.0)] {
            let claim = ClaimRecord {
                worker: String::new(),
                process: process.clone(),
                lease_seconds: seconds,
                beat: 0,
                released: false,
            };
            assert!((claim.lease().as_secs_f64() - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn workers_have_names_of_their_own() {
        let folder = Path::new("cache");
        assert_ne!(worker_name(folder), worker_name(folder));
        assert_eq!(claim_name(7, 2), "claims/00007.2");
    }
}
