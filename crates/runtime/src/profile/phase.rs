//! What a program's time is spent on.
//!
//! Counted for the whole process and always: a phase costs two looks at the clock, and there are a few a second for each
//! thread. A profile is the difference of two counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Tables of a shard from the disk.
    Read,
    /// Activations from the disk: decompressed, merged, checked.
    Decode,
    /// The encoder of an SAE in bf16, to find out which latents may fire.
    Screen,
    /// The encoder of an SAE.
    Encode,
    /// The decoder of an SAE.
    Reconstruct,
    /// Norms, errors and sums of rows, and reconstructions put in place of residuals.
    Splice,
    /// Tokens to residuals.
    Embed,
    /// Blocks of the model.
    Advance,
    /// Final norm, unembedding and what is read from the logits.
    Loss,
    /// Activations to the disk: measured, compressed, hashed.
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

    /// Begins a stretch of this work, of so many floating-point operations in matrix products; dropped, it ends it.
    pub fn begin(self, operations: u64) -> Stretch {
        self.counter().operations.fetch_add(operations, Ordering::Relaxed);
        Stretch { phase: self, start: Instant::now() }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{self:?}").to_lowercase())
    }
}

/// Work under way.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Stretch {
    phase: Phase,
    start: Instant,
}

impl Drop for Stretch {
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

/// The counts of one phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Count {
    pub(super) phase: Phase,
    pub(super) nanoseconds: u64,
    pub(super) operations: u64,
}

/// The counts of all phases, in their order.
pub(super) fn counts() -> [Count; Phase::ALL.len()] {
    Phase::ALL.map(|phase| Count {
        phase,
        nanoseconds: phase.counter().nanoseconds.load(Ordering::Relaxed),
        operations: phase.counter().operations.load(Ordering::Relaxed),
    })
}
