//! Streaming top-k selection.

use std::cmp::Ordering;

/// Numbers tested together: a group without candidates costs one vector comparison.
const LANES: usize = 32;

/// The `k` largest numbers of a row and their indices, without sorting the row.
///
/// Numbers above a bound become candidates. At `2k` candidates, the larger half is kept and its smallest becomes the bound,
/// which therefore rises fast: of n numbers in a typical order, about k·ln(n/k) ever become candidates.
#[derive(Debug, Clone)]
pub struct Largest {
    k: usize,
    /// Numbers up to this are rejected. NaN while nothing is.
    bound: f32,
    candidates: Vec<(f32, u32)>,
}

impl Largest {
    /// Creates a selection of the `k` largest.
    pub fn new(k: usize) -> Self {
        Self { k, bound: f32::NAN, candidates: Vec::with_capacity(2 * k) }
    }

    /// Adds numbers, the first of which has index `first`.
    #[inline(always)]
    pub fn add(&mut self, first: u32, values: &[f32]) {
        if self.k == 0 {
            return;
        }
        let (chunks, rest) = values.as_chunks::<LANES>();
        for (index, chunk) in chunks.iter().enumerate() {
            let bound = self.bound;
            // Counting, unlike searching, vectorises.
            let exceeding = chunk.iter().fold(0u32, |count, &number| count + u32::from(exceeds(number, bound)));
            if exceeding > 0 {
                self.consider(first + (index * LANES) as u32, chunk);
            }
        }
        self.consider(first + (chunks.len() * LANES) as u32, rest);
    }

    fn consider(&mut self, first: u32, values: &[f32]) {
        for (place, &number) in (first..).zip(values) {
            if exceeds(number, self.bound) {
                self.candidates.push((number, place));
                if self.candidates.len() == 2 * self.k {
                    self.keep_best();
                }
            }
        }
    }

    fn keep_best(&mut self) {
        if self.candidates.len() > self.k {
            self.candidates.select_nth_unstable_by(self.k - 1, |left, right| best_first(*left, *right));
            self.candidates.truncate(self.k);
            self.bound = self.candidates[self.k - 1].0;
        }
    }

    /// The largest numbers and their indices, in descending order; ties go to the lower index. NaN ranks above every number,
    /// as in LibTorch.
    pub fn finish(mut self) -> Vec<(f32, u32)> {
        if self.k > 0 {
            self.keep_best();
        }
        self.candidates.sort_unstable_by(|left, right| best_first(*left, *right));
        self.candidates
    }
}

/// Whether `number` is above `bound`. True if either is NaN.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "neither is at most the other where one is NaN")]
#[inline(always)]
fn exceeds(number: f32, bound: f32) -> bool {
    !(number <= bound)
}

fn best_first(left: (f32, u32), right: (f32, u32)) -> Ordering {
    right.0.total_cmp(&left.0).then(left.1.cmp(&right.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_sorting(values: &[f32], k: usize) -> Vec<(f32, u32)> {
        let mut all: Vec<(f32, u32)> = values.iter().copied().zip(0..).collect();
        all.sort_by(|left, right| best_first(*left, *right));
        all.truncate(k);
        all
    }

    #[test]
    fn they_are_those_that_sorting_finds() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 64.0
        };
        for (count, k) in [(1000, 1), (1000, 7), (1000, 64), (5, 9), (33, 32), (64, 0), (0, 3)] {
            let values: Vec<f32> = (0..count).map(|_| random()).collect();
            let mut largest = Largest::new(k);
            let (head, tail) = values.split_at(count / 3);
            largest.add(0, head);
            largest.add(head.len() as u32, tail);
            assert_eq!(largest.finish(), by_sorting(&values, k), "{k} of {count}");
        }
    }

    #[test]
    fn equal_numbers_infinities_and_nan_have_an_order() {
        let mut largest = Largest::new(3);
        largest.add(0, &[1.0; 100]);
        assert_eq!(largest.finish(), [(1.0, 0), (1.0, 1), (1.0, 2)]);
        let mut largest = Largest::new(3);
        largest.add(0, &[f32::NEG_INFINITY, f32::NAN, 0.0, f32::INFINITY]);
        let found = largest.finish();
        assert!(found[0].0.is_nan());
        assert_eq!(found[1..], [(f32::INFINITY, 3), (0.0, 2)]);
        let mut largest = Largest::new(2);
        largest.add(0, &[f32::NEG_INFINITY; 40]);
        assert_eq!(largest.finish().len(), 2);
    }
}
