//! Stateless random numbers: each is a function of its purpose.

/// Must never change: a seed must always give the same rollouts.
const CONTEXT: &str = "hayloft 2025-11 sampling of rollouts";

/// A uniform number in [0, 1) with 53 random bits, for draw number `draw` of a row, counted from 0.
pub(super) fn uniform(seed: u64, row: u64, draw: u64) -> f64 {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    for part in [seed, row, draw] {
        hasher.update(&part.to_le_bytes());
    }
    let mut bits = [0; 8];
    hasher.finalize_xof().fill(&mut bits);
    (u64::from_le_bytes(bits) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_matters_and_nothing_else() {
        let first = uniform(1, 2, 3);
        assert_eq!(first.to_bits(), uniform(1, 2, 3).to_bits());
        for other in [uniform(0, 2, 3), uniform(1, 0, 3), uniform(1, 2, 0), uniform(2, 1, 3)] {
            assert_ne!(first.to_bits(), other.to_bits());
        }
    }

    #[test]
    fn numbers_are_uniform() {
        let mut counts = [0_u32; 10];
        for row in 0..100 {
            for draw in 0..100 {
                counts[(10.0 * uniform(42, row, draw)) as usize] += 1;
            }
        }
        let chi_square: f64 = counts.iter().map(|&count| (f64::from(count) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi_square < 21.7, "{chi_square}: less than one in a hundred by chance, with 9 degrees of freedom");
    }
}
