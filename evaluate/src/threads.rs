//! How many threads work.

use std::num::NonZeroUsize;

/// Lets LibTorch's kernels use so many threads, and hashing so many. To be called once, before any work; without it both
/// take all cores. LibTorch may add in another order with another number, and figures may then differ in the last bits.
pub fn limit_threads(threads: NonZeroUsize) {
    tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
    // Fails only where the pool exists already, and then it keeps the size it has.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
}
