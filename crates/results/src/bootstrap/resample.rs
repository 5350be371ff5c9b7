//! Draws of sequences.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A fixed seed: the same run gives the same intervals.
const SEED: u64 = 0x0068_6179_6c6f_6674;

/// Draws `count` sequences with replacement and returns how often each occurs. The draw depends only on the number of
/// the resample, so any thread can make it.
pub(super) fn draw(resample: usize, count: usize) -> Vec<u32> {
    // A large odd multiplier separates the seeds of neighbouring resamples.
    let seed = SEED ^ (resample as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut times = vec![0; count];
    for _ in 0..count {
        // Scaled here, because `rand`'s ranges may draw differently in its next version.
        times[((u128::from(generator.next_u64()) * count as u128) >> 64) as usize] += 1;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resample_has_as_many_sequences_and_each_as_often_in_the_long_run() {
        let mut total = [0u32; 10];
        for resample in 0..2000 {
            let times = draw(resample, 10);
            assert_eq!(times.iter().sum::<u32>(), 10);
            for (total, times) in total.iter_mut().zip(times) {
                *total += times;
            }
        }
        // 2000 each, within three standard deviations of √1800.
        assert!(total.iter().all(|&times| times.abs_diff(2000) < 128), "{total:?}");
        assert_eq!(draw(7, 10), draw(7, 10));
        assert_ne!(draw(7, 10), draw(8, 10));
        assert!(draw(0, 0).is_empty());
    }
}
