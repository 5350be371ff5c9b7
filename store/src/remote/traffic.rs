//! How much was moved, and in how many requests.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What was moved to and from a place so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Requests; one that the client repeated after a failure is counted once.
    pub requests: u64,
    /// Bytes of objects received.
    pub received: u64,
    /// Bytes of objects sent.
    pub sent: u64,
    /// Requests and files that were begun again because what came was no answer, too short or not what was expected.
    pub repeated: u64,
}

/// Counts traffic on any number of threads.
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

/// How far something has come that moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes are to be moved in all; said once, before the first are.
    Total(u64),
    /// So many bytes more are where they should be, moved or found there.
    More(u64),
}
