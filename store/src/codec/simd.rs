//! The widest vector instructions of the machine, found at run time.
//!
//! Kernels are plain loops. The compiler makes vector code of them once for each set of instructions that `pulp` knows,
//! and [`run`] calls the widest that the processor has. The bits that come out do not depend on it: no kernel leaves the
//! order of a floating-point sum to the compiler, and Rust never fuses a product and a sum by itself.

/// A loop over bytes or numbers. Its [`Self::run`] and all that it calls must be `#[inline(always)]`: only what is
/// inlined is compiled for the widest instructions.
pub(crate) trait Kernel {
    type Output;

    fn run(self) -> Self::Output;
}

/// Runs `kernel` with the widest instructions there are.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || kernel.run(),
    )
}
