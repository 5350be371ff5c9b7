//! Phases of a program's work.
//!
//! Counters are process-wide and always on: a phase costs two clock reads, and each thread enters a few phases a second. A
//! profile is the difference of two readings.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

/// A phase of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the tables of a shard from disk.
    Read,
    /// Reading activations from disk: decompression, merging, checks.
    Decode,
    /// The bf16 encoder pass of an SAE, which finds the latents that may fire.
    Screen,
    /// The SAE encoder.
    Encode,
    /// The SAE decoder.
    Reconstruct,
    /// Norms, errors and sums of rows, and splicing of reconstructions into the residual stream.
    Splice,
    /// Token embedding.
    Embed,
    /// Blocks of the model.
    Advance,
    /// Final norm, unembedding and statistics of the logits.
    Loss,
    /// Writing activations to disk: statistics, compression, hashing.
    Write,
}

impl Phase {
    const ALL: [Self; 10] = [
        Self::Read,
        Self::Decode,
        Self::Screen,
        Self::Encode,
        Self::Reconstruct,
        Self::Splice,
        Self::Embed,
        Self::Advance,
        Self::Loss,
        Self::Write,
    ];

    fn counter(self) -> &'static Counter {
        &COUNTERS[self as usize]
    }

    /// Starts a timed stretch of this phase, with this many floating-point operations in matrix products. The stretch ends
    /// when dropped.
    pub fn begin(self, operations: u64) -> PhaseTimer {
        self.counter().operations.fetch_add(operations, Ordering::Relaxed);
        PhaseTimer { phase: self, start: Instant::now() }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{self:?}").to_lowercase())
    }
}

/// A stretch of work in progress.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct PhaseTimer {
    phase: Phase,
    start: Instant,
}

impl Drop for PhaseTimer {
    fn drop(&mut self) {
        let nanoseconds = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.phase.counter().nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

struct Counter {
    nanoseconds: AtomicU64,
    operations: AtomicU64,
}

static COUNTERS: [Counter; Phase::ALL.len()] =
    [const { Counter { nanoseconds: AtomicU64::new(0), operations: AtomicU64::new(0) } }; Phase::ALL.len()];

/// The counters of one phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Count {
    pub(super) phase: Phase,
    pub(super) nanoseconds: u64,
    pub(super) operations: u64,
}

/// The counters of all phases, in order.
pub(super) fn counts() -> [Count; Phase::ALL.len()] {
    Phase::ALL.map(|phase| Count {
        phase,
        nanoseconds: phase.counter().nanoseconds.load(Ordering::Relaxed),
        operations: phase.counter().operations.load(Ordering::Relaxed),
    })
}
