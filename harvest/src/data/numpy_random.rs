//! numpy's seeded permutation, which the `datasets` library uses to shuffle.

use rand::Rng;
use rand_pcg::Pcg64;

/// Returns `numpy.random.default_rng(seed).permutation(length)`, bit for bit.
///
/// `datasets.Dataset.shuffle(seed)` puts row `permutation[k]` at index k.
pub(super) fn permutation(seed: u64, length: u32) -> Vec<u32> {
    let mut random = NumpyRandom::new(seed);
    let mut items: Vec<u32> = (0..length).collect();
    for last in (1..items.len()).rev() {
        let other = random.up_to(last as u32);
        items.swap(last, other as usize);
    }
    items
}

/// numpy's `PCG64`, seeded and drawn from as in `default_rng`.
struct NumpyRandom {
    bits: Pcg64,
    /// The upper half of the last 64 bits drawn, if unused.
    kept: Option<u32>,
}

impl NumpyRandom {
    fn new(seed: u64) -> Self {
        let [state_high, state_low, stream_high, stream_low] = seed_sequence(seed);
        let join = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        Self { bits: Pcg64::new(join(state_high, state_low), join(stream_high, stream_low)), kept: None }
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let both = self.bits.next_u64();
        self.kept = Some((both >> 32) as u32);
        both as u32
    }

    /// Draws a number from 0 to `most` by rejection, as numpy's `random_interval` does.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= most {
                return drawn;
            }
        }
    }
}

const POOL: usize = 4;
const MULTIPLY_MIX_LEFT: u32 = 0xca01_f9dd;
const MULTIPLY_MIX_RIGHT: u32 = 0x4973_f715;

/// Returns numpy's `SeedSequence(seed).generate_state(4, numpy.uint64)`.
fn seed_sequence(seed: u64) -> [u64; 4] {
    let mut hash = Hash { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
    // The seed's words, lowest first, padded with 0.
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.of(word));
    for source in 0..POOL {
        for target in (0..POOL).filter(|target| *target != source) {
            let hashed = hash.of(pool[source]);
            pool[target] = mix(pool[target], hashed);
        }
    }
    let mut hash = Hash { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };
    let mut words = pool.into_iter().cycle();
    let mut word = || u64::from(hash.of(words.next().unwrap_or_default()));
    [(); 4].map(|()| word() | word() << 32)
}

/// numpy's `hashmix`. Its constant changes with each word.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn of(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let word = word.wrapping_mul(self.constant);
        word ^ word >> 16
    }
}

fn mix(left: u32, right: u32) -> u32 {
    let mixed = left.wrapping_mul(MULTIPLY_MIX_LEFT).wrapping_sub(right.wrapping_mul(MULTIPLY_MIX_RIGHT));
    mixed ^ mixed >> 16
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use hayloft_runtime::sha256_hex;

    /// A case of `tests/fixtures/sections/permutations.json`, generated with numpy by `scripts/goldens/sections.py`.
    #[derive(Deserialize)]
    struct Golden {
        seed: u64,
        rows: u32,
        first: Vec<u32>,
        /// Hash of the permutation as little-endian words.
        sha256: String,
    }

    #[test]
    fn permutations_are_numpys() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/sections/permutations.json");
        let goldens: Vec<Golden> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(goldens.len() >= 8);
        for Golden { seed, rows, first, sha256 } in goldens {
            let items = permutation(seed, rows);
            assert_eq!(items[..first.len()], first, "seed {seed}, {rows} rows");
            let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
            assert_eq!(sha256_hex(&bytes), sha256, "seed {seed}, {rows} rows");
        }
    }
}
