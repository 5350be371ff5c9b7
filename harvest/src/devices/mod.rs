//! Runs several devices of one machine, one process for each, on one cache.
//!
//! Processes rather than threads: LibTorch's allocator, streams and random state are per process, and a failing device
//! ends only its own process. The processes share the shards like workers on different machines.

mod children;
mod placement;
mod processors;

pub use self::children::{Program, run_on_devices};
pub use self::processors::Processors;
