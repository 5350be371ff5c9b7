//! A disk that is full after a number of bytes, or breaks at a numbered operation.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::fs::watched::{Operation, WatchedDisk, Watcher};

/// Passes operations on until its budget is spent. An operation costs 1, and each byte written may cost 1 more.
/// Removals always succeed, as on a full disk.
pub(crate) type FailingDisk = WatchedDisk<Budget>;

/// The remaining budget.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicI64,
    bytes_cost: i64,
}

impl FailingDisk {
    /// Full after `bytes` bytes and operations.
    pub(crate) fn full_after(bytes: i64) -> Self {
        Self::new(Budget { left: AtomicI64::new(bytes), bytes_cost: 1 })
    }

    /// Breaks at operation number `operations`, regardless of how much each writes.
    pub(crate) fn breaks_at(operations: i64) -> Self {
        Self::new(Budget { left: AtomicI64::new(operations), bytes_cost: 0 })
    }
}

impl Watcher for Budget {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        let bytes = match operation {
            Operation::RemoveFile(_) | Operation::RemoveFolder(_) => return Ok(()),
            Operation::Write(_, bytes) => bytes.len() as i64,
            _ => 0,
        };
        let cost = 1 + self.bytes_cost * bytes;
        if self.left.fetch_sub(cost, Ordering::Relaxed) < cost {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}
