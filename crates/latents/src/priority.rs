//! Random numbers that belong to a firing or a token, so that samples do not depend on the order in which either is seen.

/// The odd number nearest to 2⁶⁴ divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers of firings of one latent, or of tokens: uniform numbers of 64 bits from a seed and the place in the cache.
///
/// The number of the words w₁, w₂, … is h of the last of h₀ = m(seed), hᵢ = m((hᵢ₋₁ + STEP) ⊕ wᵢ) modulo 2⁶⁴, where STEP is
/// 0x9e3779b97f4a7c15 and m the finaliser of `SplitMix64`. A firing has the words latent, sequence and position, a token the
/// words sequence and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities(u64);

impl Priorities {
    /// The numbers of tokens.
    pub fn of_tokens(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The numbers of a latent's firings.
    pub fn of_latent(seed: u64, latent: u32) -> Self {
        Self(mix(seed)).with(u64::from(latent))
    }

    /// The number at a position of a sequence.
    pub fn at(self, sequence: u64, position: u32) -> u64 {
        self.with(sequence).with(u64::from(position)).0
    }

    fn with(self, word: u64) -> Self {
        Self(mix(self.0.wrapping_add(STEP) ^ word))
    }
}

/// The finaliser of `SplitMix64`.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_fixed_uniform_and_apart() {
        // Computed with Python's integers.
        assert_eq!(Priorities::of_tokens(0).at(0, 0), 0xa706_dd2f_4d19_7e6f);
        assert_eq!(Priorities::of_tokens(3).at(5, 9), 0x33f7_d734_80fe_2f09);
        let mut seen = BTreeSet::new();
        let mut low = 0;
        for latent in 0..20 {
            for sequence in 0..20 {
                for position in 0..20 {
                    let number = Priorities::of_latent(7, latent).at(sequence, position);
                    low += u32::from(number < u64::MAX / 4);
                    seen.insert(number);
                }
            }
        }
        assert_eq!(seen.len(), 8000);
        assert!((1800..2200).contains(&low), "{low} of 8000 are in the lowest quarter");
        assert_ne!(Priorities::of_latent(1, 0), Priorities::of_latent(0, 0));
    }
}
