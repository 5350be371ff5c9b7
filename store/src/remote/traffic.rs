//! Counts requests and bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The data moved to and from a location so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Requests. Retries are not counted.
    pub requests: u64,
    /// Bytes of objects received.
    pub received: u64,
    /// Bytes of objects sent.
    pub sent: u64,
    /// Requests and files repeated because the response was missing, too short or wrong.
    pub repeated: u64,
}

/// Thread-safe counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    repeated: AtomicU64,
}

impl Counters {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn send(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> Traffic {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: now(&self.requests),
            received: now(&self.received),
            sent: now(&self.sent),
            repeated: now(&self.repeated),
        }
    }
}

/// Progress of an operation that moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The total number of bytes to move; reported once, before any are moved.
    Total(u64),
    /// This many more bytes are in place, moved or already there.
    More(u64),
}
