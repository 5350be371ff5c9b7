//! How many threads work, and on what.
//!
//! On a CPU the work is shared out by sequences and not within matrix products: as many workers as there are threads
//! each take a step of the batch through the model, with kernels that use one thread. Nothing then waits for
//! anything, no thread spins beside one that works, and no figure depends on the number of threads. On a GPU there is
//! one worker.

use std::num::NonZeroUsize;

use tch::{Device, NoGradGuard};

/// Lets the forward pass use so many threads, and everything on rayon (tokenising, encoding, decoding, hashing) so many.
/// To be called once, before any work; without it both take all cores.
///
/// The two overlap, so for short moments there are twice as many; cores of their own would be idle most of the time.
/// Work that is not shared out by sequences (training, generating) runs in LibTorch's own threads. Where cores are shared
/// with other programs, set `OMP_WAIT_POLICY=passive`: those threads then sleep, and do not spin, while they wait for each
/// other.
pub fn limit_threads(threads: NonZeroUsize) {
    tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
    // Fails only where the pool exists already, and then it keeps the size it has.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
}

/// How many workers share the forward passes on a device.
pub fn workers(device: Device) -> usize {
    match device {
        Device::Cpu => usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1),
        _ => 1,
    }
}

/// Makes the calling thread a worker: LibTorch's kernels use this thread alone, and record no gradients for as long as
/// the guard lives.
pub fn become_worker() -> NoGradGuard {
    // LibTorch gives a thread the process's last number when it first looks at it. That must be over by now, or a number that
    // another thread sets in between would come in place of this one.
    let _ = tch::get_num_threads();
    tch::set_num_threads(1);
    crate::no_grad()
}
