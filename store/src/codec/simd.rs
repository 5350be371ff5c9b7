//! Run-time dispatch to the widest vector instructions of the CPU.
//!
//! Kernels are plain loops. The compiler vectorises them once for each instruction set that `pulp` knows, and [`run`]
//! calls the widest that the CPU supports. Results are bit-identical: no kernel leaves the order of a floating-point
//! sum to the compiler, and Rust never fuses a multiplication and an addition implicitly.

/// A vectorisable loop. [`Self::run`] and everything it calls must be `#[inline(always)]`: only inlined code is
/// compiled for the widest instructions.
pub(crate) trait Kernel {
    type Output;

    fn run(self) -> Self::Output;
}

/// Runs `kernel` with the widest instructions available.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || kernel.run(),
    )
}
