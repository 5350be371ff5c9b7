//! The allocator of every program of this crate: it counts, and refuses what is more than an input may ask for.
//!
//! Memory that C code asks for (LibTorch's tensors, zstd's windows) is not counted.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that an input may have live per byte of input, in addition to what its target allows to any.
const PER_BYTE: usize = 64;

/// Allows so many bytes more than are live now, and [`PER_BYTE`] for each of the input's. What asks for more ends the
/// process.
pub(crate) fn limit(allowance: usize, input: usize) {
    let limit = ALLOCATOR.allocated().saturating_add(allowance).saturating_add(input.saturating_mul(PER_BYTE));
    // It refuses only a limit below what is live.
    let _ = ALLOCATOR.set_limit(limit);
}

/// Allows anything again.
pub(crate) fn unlimited() {
    let _ = ALLOCATOR.set_limit(usize::MAX);
}

/// Taken by each test that sets the limit, which all threads share.
#[cfg(test)]
pub(crate) static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limit_is_refused_and_less_is_not() {
        let _alone = ALONE.lock().unwrap();
        // Room for the tests that run beside this one, which the limit holds for too.
        limit(1 << 30, 1 << 10);
        let within = Vec::<u8>::new().try_reserve_exact(1 << 28);
        let beyond = Vec::<u8>::new().try_reserve_exact(8 << 30);
        unlimited();
        within.unwrap();
        beyond.unwrap_err();
    }
}
