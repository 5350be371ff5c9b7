//! Statistics of activations: sums of norms and elements, from which mean norm and mean vector follow, and counts of
//! non-finite rows.
//!
//! Sums are f64. They are accumulated over blocks of a fixed number of rows, then over blocks, row groups and shards in
//! order. Neither the number of threads nor a resume changes a bit of them.

use hayloft_runtime::Dtype;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::codec::simd::{self, Kernel};

/// Rows of a block, summed on one thread.
const BLOCK_ROWS: usize = 256;

/// Partial sums of squares, for vectorisation. Part of the format: another number would round differently.
const LANES: usize = 8;

/// Sums over rows of `d_model` activations. Rows with a NaN or infinite element are counted but excluded from the sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivationSums {
    /// Number of rows, including non-finite ones.
    pub rows: u64,
    /// Number of rows with a NaN or infinite element.
    pub non_finite_rows: u64,
    /// Sum of the Euclidean norms of the finite rows.
    pub norm: f64,
    /// Sum of the finite rows, `[d_model]`.
    pub elements: Vec<f64>,
}

impl ActivationSums {
    pub(crate) fn new(d_model: usize) -> Self {
        Self { elements: vec![0.0; d_model], ..Self::default() }
    }

    /// Adds the sums of the rows that follow.
    pub(crate) fn add(&mut self, next: &Self) {
        // Saturating, because a record is untrusted.
        self.rows = self.rows.saturating_add(next.rows);
        self.non_finite_rows = self.non_finite_rows.saturating_add(next.non_finite_rows);
        self.norm += next.norm;
        for (sum, element) in self.elements.iter_mut().zip(&next.elements) {
            *sum += element;
        }
    }

    /// Returns the number of finite rows.
    pub fn finite_rows(&self) -> u64 {
        self.rows.saturating_sub(self.non_finite_rows)
    }

    /// Returns the mean Euclidean norm of the finite rows; 0 without any.
    pub fn mean_norm(&self) -> f64 {
        self.norm / self.finite_rows().max(1) as f64
    }

    /// Returns the mean of the finite rows, `[d_model]`; zeros without any.
    pub fn mean(&self) -> Vec<f64> {
        let rows = self.finite_rows().max(1) as f64;
        self.elements.iter().map(|sum| sum / rows).collect()
    }
}

/// The result of [`measure`].
pub(crate) struct Measured {
    pub(crate) sums: ActivationSums,
    /// Euclidean norm of each row, `[rows]`; NaN or infinite for a non-finite row.
    pub(crate) norms: Vec<f32>,
    pub(crate) first_non_finite: Option<usize>,
}

/// Computes the statistics of `bits`, `[rows, d_model]` little-endian words.
pub(crate) fn measure(dtype: Dtype, d_model: usize, bits: &[u8]) -> Measured {
    let row_bytes = d_model * dtype.bytes();
    let blocks: Vec<(ActivationSums, Vec<f32>)> = bits
        .par_chunks(BLOCK_ROWS * row_bytes)
        .map(|block| simd::run(MeasureBlock { dtype, d_model, block }))
        .collect();
    let mut sums = ActivationSums::new(d_model);
    let mut norms = Vec::with_capacity(bits.len() / row_bytes);
    for (block, block_norms) in &blocks {
        sums.add(block);
        norms.extend_from_slice(block_norms);
    }
    let first_non_finite = (sums.non_finite_rows > 0).then(|| first_non_finite(dtype, row_bytes, bits)).flatten();
    Measured { sums, norms, first_non_finite }
}

/// Computes the sums of one block. The result does not depend on the instruction set.
struct MeasureBlock<'a> {
    dtype: Dtype,
    d_model: usize,
    block: &'a [u8],
}

impl Kernel for MeasureBlock<'_> {
    type Output = (ActivationSums, Vec<f32>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { dtype, d_model, block } = self;
        let mut sums = ActivationSums::new(d_model);
        let mut norms = Vec::with_capacity(BLOCK_ROWS);
        let mut row = vec![0_f32; d_model];
        for bits in block.chunks_exact(d_model * dtype.bytes()) {
            dtype.widen(bits, &mut row);
            // The square of an f32 does not overflow an f64, nor does the sum over a row, so this is finite if and only
            // if every element is.
            let squares = sum_of_squares(&row);
            sums.rows += 1;
            // A canonical NaN: the payload of a sum of NaNs depends on the instruction set.
            norms.push(if squares.is_nan() { f32::NAN } else { squares.sqrt() as f32 });
            if squares.is_finite() {
                sums.norm += squares.sqrt();
                for (sum, element) in sums.elements.iter_mut().zip(&row) {
                    *sum += f64::from(*element);
                }
            } else {
                sums.non_finite_rows += 1;
            }
        }
        (sums, norms)
    }
}

#[inline(always)]
fn sum_of_squares(row: &[f32]) -> f64 {
    let mut lanes = [0_f64; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, element) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*element) * f64::from(*element);
        }
    }
    let rest: f64 = rest.iter().map(|element| f64::from(*element) * f64::from(*element)).sum();
    lanes.iter().sum::<f64>() + rest
}

fn first_non_finite(dtype: Dtype, row_bytes: usize, bits: &[u8]) -> Option<usize> {
    let mut row = vec![0_f32; row_bytes / dtype.bytes()];
    bits.chunks_exact(row_bytes).position(|bits| {
        dtype.widen(bits, &mut row);
        row.iter().any(|element| !element.is_finite())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn sums_agree_with_plain_ones() {
        let (rows, d_model) = (1000, 37);
        let values: Vec<f32> = (0..rows * d_model).map(|index| ((index * 7919 % 1013) as f32 - 500.0) / 77.0).collect();
        let measured = measure(Dtype::F32, d_model, &bits(&values));
        let norms: Vec<f64> =
            values.chunks(d_model).map(|row| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()).collect();
        let mean_norm = norms.iter().sum::<f64>() / rows as f64;
        assert!((measured.sums.mean_norm() - mean_norm).abs() < 1e-12 * mean_norm);
        assert_eq!(measured.norms.len(), rows);
        assert!(
            measured
                .norms
                .iter()
                .zip(&norms)
                .all(|(got, expected)| (f64::from(*got) - expected).abs() < 1e-6 * expected)
        );
        for (element, mean) in measured.sums.mean().iter().enumerate() {
            let expected =
                values.iter().skip(element).step_by(d_model).map(|x| f64::from(*x)).sum::<f64>() / rows as f64;
            assert!((mean - expected).abs() < 1e-12, "{mean} {expected}");
        }
    }

    #[test]
    fn rows_that_are_not_finite_are_counted_and_in_no_sum() {
        let values = [3.0, 4.0, f32::NAN, 0.0, 0.0, f32::NEG_INFINITY, 0.0, 1.0];
        let measured = measure(Dtype::F32, 2, &bits(&values));
        assert_eq!(measured.first_non_finite, Some(1));
        assert_eq!(measured.sums, ActivationSums { rows: 4, non_finite_rows: 2, norm: 6.0, elements: vec![3.0, 5.0] });
        assert_eq!(measured.sums.mean(), [1.5, 2.5]);
        assert!(measured.norms[1].is_nan() && measured.norms[2].is_infinite());
    }

    #[test]
    fn sums_of_hostile_records_are_added_up_without_overflow() {
        let hostile = ActivationSums { rows: u64::MAX, non_finite_rows: u64::MAX, ..ActivationSums::new(1) };
        let mut sums = hostile.clone();
        sums.add(&hostile);
        assert_eq!((sums.rows, sums.finite_rows()), (u64::MAX, 0));
        assert_eq!(ActivationSums { non_finite_rows: 2, ..ActivationSums::new(1) }.mean(), [0.0]);
    }

    #[test]
    fn the_largest_finite_row_is_finite() {
        let measured = measure(Dtype::F32, 4, &bits(&[f32::MAX; 4]));
        assert_eq!(measured.sums.non_finite_rows, 0);
        assert_eq!(measured.first_non_finite, None);
        assert!((measured.sums.norm - 2.0 * f64::from(f32::MAX)).abs() < 1e24);
    }

    #[test]
    fn no_finite_row_gives_zeros_and_no_nan() {
        let measured = measure(Dtype::F32, 1, &bits(&[f32::NAN]));
        assert_eq!((measured.sums.mean_norm(), measured.sums.mean()), (0.0, vec![0.0]));
    }

    #[test]
    fn threads_do_not_change_the_sums() {
        let values: Vec<f32> = (0..5000 * 16).map(|index| (index as f32).sin()).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| measure(Dtype::F32, 16, &bits(&values))).sums
        };
        assert_eq!(on(1), on(5));
    }

    #[test]
    fn instructions_do_not_change_a_bit_of_the_sums() {
        for (dtype, d_model) in [(Dtype::F32, 37), (Dtype::Bf16, 64), (Dtype::F16, 129), (Dtype::F32, 7)] {
            let block: Vec<u8> =
                (0..50 * d_model * dtype.bytes()).map(|index| ((index * index * 31) >> 7) as u8).collect();
            let bits = |(sums, norms): (ActivationSums, Vec<f32>)| {
                let elements: Vec<u64> = sums.elements.iter().map(|sum| sum.to_bits()).collect();
                let norms: Vec<u32> = norms.into_iter().map(f32::to_bits).collect();
                (elements, norms, sums.norm.to_bits(), sums.non_finite_rows)
            };
            let widest = bits(simd::run(MeasureBlock { dtype, d_model, block: &block }));
            let plain = bits(MeasureBlock { dtype, d_model, block: &block }.run());
            assert_eq!(widest, plain, "{dtype}, {d_model}");
        }
    }

    /// Spells out the order of additions that the format defines.
    #[test]
    fn squares_are_added_up_in_eight_lanes() {
        let row: Vec<f32> = (0..37).map(|index| ((index * 7919 % 1013) as f32 - 500.0) / 77.0).collect();
        let mut lanes = [0_f64; 8];
        for (index, element) in row[..32].iter().enumerate() {
            lanes[index % 8] += f64::from(*element) * f64::from(*element);
        }
        let rest = row[32..].iter().fold(0.0, |sum, element| sum + f64::from(*element) * f64::from(*element));
        let expected = (lanes.iter().fold(0.0, |sum, lane| sum + lane) + rest).sqrt();
        assert_eq!(measure(Dtype::F32, 37, &bits(&row)).sums.norm.to_bits(), expected.to_bits());
    }
}
