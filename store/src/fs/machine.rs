//! The disk of this machine.

use std::sync::Arc;

use crate::fs::disk::{Disk, FileSystem};

/// The disk of this machine. With the feature `failpoints` it injects the fault of `HAYLOFT_FAILPOINT`.
pub(crate) fn machine() -> Arc<dyn Disk> {
    #[cfg(any(test, feature = "failpoints"))]
    if let Some(disk) = crate::fs::failpoints::from_environment() {
        return disk;
    }
    Arc::new(FileSystem)
}
