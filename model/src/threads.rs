//! How many threads work.

use std::num::NonZeroUsize;

/// Lets LibTorch's kernels use so many threads, and everything on rayon (tokenising, encoding, decoding, hashing) so
/// many. To be called once, before any work; without it both take all cores.
///
/// The two overlap, so for short moments there are twice as many; cores of their own would be idle most of the time.
/// Where cores are shared with other programs, set `OMP_WAIT_POLICY=passive`: LibTorch's threads then sleep, and do not
/// spin, while they wait for each other.
///
/// Plans and encodings are the same with any number of threads. LibTorch may add in another order with another number,
/// and its results may then differ in the last bits.
pub fn limit_threads(threads: NonZeroUsize) {
    tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
    // Fails only where the pool exists already, and then it keeps the size it has.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
}
