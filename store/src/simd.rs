//! The widest vector instructions of the machine, found at run time.
//!
//! Kernels are plain loops. The compiler makes vector code of them once for each set of instructions below, and
//! [`run`] calls the widest that the processor has. The bits that come out do not depend on it: no kernel leaves the
//! order of a floating-point sum to the compiler, and Rust never fuses a product and a sum by itself. Where there is no
//! such choice, as on aarch64 with its NEON, there is one version.

/// A loop over bytes or numbers. Its [`Self::run`] and all that it calls must be `#[inline(always)]`: only what is
/// inlined is compiled for the instructions of the caller.
pub(crate) trait Kernel {
    type Output;

    fn run(self) -> Self::Output;
}

/// Instructions that this machine has. Only [`Self::all`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instructions(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Those that every processor of this kind has.
    Plain,
}

impl Instructions {
    /// The widest first. The standard library keeps what the processor answered; asking again costs a load.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            [avx512.then_some(Set::Avx512), is_x86_feature_detected!("avx2").then_some(Set::Avx2)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let wide: [Option<Set>; 0] = [];
        wide.into_iter().flatten().chain([Set::Plain]).map(Self)
    }
}

/// Runs `kernel` with the widest instructions there are.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    let widest = Instructions::all().next().unwrap_or(Instructions(Set::Plain));
    run_with(widest, kernel)
}

/// Runs `kernel` with these instructions.
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "a function for instructions that not every processor has is unsafe to call")
)]
pub(crate) fn run_with<K: Kernel>(instructions: Instructions, kernel: K) -> K::Output {
    match instructions.0 {
        // SAFETY: the processor has the instructions that the function is compiled for: the value stands for just
        // them, and none is made but where the processor was asked.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => unsafe { with_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { with_avx2(kernel) },
        Set::Plain => kernel.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
