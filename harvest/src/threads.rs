//! How many threads work.

use std::num::NonZeroUsize;

/// Lets LibTorch's kernels use so many threads, and tokenising and encoding so many. To be called once, before any work.
///
/// Kernels and encoding overlap, so for short moments there are twice as many; encoding is a small part of the work,
/// and cores of its own would be idle most of the time. Without this call both take all cores. Where cores are shared,
/// a program does well to set `OMP_WAIT_POLICY=passive` before LibTorch is loaded.
///
/// Plans and encodings are the same with any number of threads. LibTorch may add in another order with another number,
/// and its results may then differ in the last bits.
pub fn limit_threads(threads: NonZeroUsize) {
    tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
    // Fails only where the pool exists already, and then it keeps the size it has.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
}
