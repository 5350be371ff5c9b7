//! Threads and workers.
//!
//! On a CPU, work is split by sequences, not within matrix products: there is one worker per thread, and each takes a step
//! of the batch through the model with single-threaded kernels. Workers do not wait for each other or spin, and no result
//! depends on the number of threads. A GPU has one worker.

use std::num::NonZeroUsize;

use tch::{Device, NoGradGuard};

/// Limits the threads of the forward pass, and those of rayon (tokenising, encoding, decoding, hashing), to this many each.
/// Call once, before any work; the default is all cores.
///
/// The two pools overlap, so that for short moments twice as many threads run; separate cores for each would be idle most of
/// the time. Work that is not split by sequences (training, generation) runs on LibTorch's own threads. Where cores are
/// shared with other programs, set `OMP_WAIT_POLICY=passive`: those threads then sleep instead of spinning while they wait.
pub fn limit_threads(threads: NonZeroUsize) {
    tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
    // Fails only if the pool already exists; it then keeps its size.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
}

/// Number of workers that share the forward passes on a device.
pub fn workers(device: Device) -> usize {
    match device {
        Device::Cpu => usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1),
        _ => 1,
    }
}

/// Makes the calling thread a worker: LibTorch's kernels run on this thread alone and record no gradients while the guard
/// lives.
pub fn become_worker() -> NoGradGuard {
    // LibTorch initialises a thread's number from the process-wide one at the thread's first query. Query first, or a number
    // set by another thread meanwhile would replace this one.
    let _ = tch::get_num_threads();
    tch::set_num_threads(1);
    crate::no_grad()
}
