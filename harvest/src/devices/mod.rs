//! Several devices of one machine: a process for each, beside one another on one cache.
//!
//! A process per device and not a thread: LibTorch's allocator, its streams and its random state are a process's own, and a
//! device that fails takes only its own process with it. The processes share the shards like workers on different machines do.

mod children;
mod placement;
mod processors;

pub use self::children::{Program, run_on_devices};
pub use self::processors::Processors;
