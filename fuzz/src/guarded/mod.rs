//! Running a reader so that what it does wrong is seen: panics, memory, files left behind.

pub(crate) mod allocator;
pub(crate) mod guard;
pub(crate) mod scratch;
