//! `int8`: symmetric 8-bit quantisation with one scale per row, for any dtype. Lossy; the rounding error is recorded.
//!
//! The scale is the largest magnitude of the row divided by 127. Elements are divided by it and rounded to the nearest
//! integer, ties to even. Decoded values are scale times integer, in f32.

use std::io;

use hayloft_runtime::Dtype;
use rayon::prelude::*;
use twox_hash::XxHash3_64;

use crate::codec::Codec;
use crate::codec::encoded::{Buffers, Column, EncodedRowGroup, RowGroup};
use crate::codec::pages::Block;
use crate::codec::rounding::RoundingError;
use crate::codec::scheme::Scheme;
use crate::codec::simd::{self, Kernel};
use crate::error::Result;

/// Size of a scale: a little-endian f32.
const SCALE_BYTES: usize = 4;

/// The largest quantised value. -128 is unused, to keep the range symmetric.
const LARGEST: f32 = 127.0;

impl Codec {
    /// 8 bits per element and one scale per row, for any dtype. Lossy; the rounding error is recorded.
    pub const INT8: Self = Self::of(&Int8);
}

pub(super) struct Int8;

impl Scheme for Int8 {
    fn name(&self) -> &'static str {
        "int8"
    }

    fn columns(&self, _: Dtype, d_model: usize) -> Vec<Column> {
        vec![Column::stored("scale", SCALE_BYTES), Column::stored("quantised", d_model)]
    }

    fn read_dtype(&self, _: Dtype) -> Dtype {
        Dtype::F32
    }

    fn is_lossy(&self) -> bool {
        true
    }

    fn encode(&self, group: &RowGroup<'_>, _: &mut Buffers) -> io::Result<EncodedRowGroup> {
        let (dtype, d_model, block_rows) = (group.dtype, group.d_model, group.block_rows());
        let (mut scales, mut quantised) = (vec![0; group.rows() * SCALE_BYTES], vec![0; group.rows() * d_model]);
        let errors: Vec<RoundingError> = group
            .bits
            .par_chunks(block_rows * group.row_bytes())
            .zip(scales.par_chunks_mut(block_rows * SCALE_BYTES))
            .zip(quantised.par_chunks_mut(block_rows * d_model))
            .map(|((words, scales), quantised)| quantise(dtype, d_model, words, scales, quantised))
            .collect();
        let mut rounding = RoundingError::default();
        for error in errors {
            rounding.add(error);
        }
        let columns = vec![group.stored(SCALE_BYTES, &scales.into()), group.stored(d_model, &quantised.into())];
        Ok(EncodedRowGroup { columns, rounding: Some(rounding) })
    }

    fn decode(&self, block: &Block<'_>, words: &mut [u8]) -> Result<()> {
        let [scale, quantised] = block.columns()?;
        let (scales, numbers) = (scale.stored(block.rows.clone()), quantised.stored(block.rows.clone()));
        scale.check(block.index, XxHash3_64::oneshot(&scales))?;
        quantised.check(block.index, XxHash3_64::oneshot(&numbers))?;
        restore(block.d_model, &scales, &numbers, words);
        Ok(())
    }
}

/// Quantises each row of `words` into a scale and `d_model` signed bytes. The outputs must have exactly the size
/// needed.
///
/// A row with a NaN or infinite element gets a NaN scale, and is decoded as NaNs.
fn quantise(dtype: Dtype, d_model: usize, words: &[u8], scales: &mut [u8], quantised: &mut [u8]) -> RoundingError {
    simd::run(Quantise { dtype, d_model, words, scales, quantised })
}

/// Dequantises rows into `words`, as little-endian f32.
fn restore(d_model: usize, scales: &[u8], quantised: &[u8], words: &mut [u8]) {
    simd::run(Restore { d_model, scales, quantised, words });
}

struct Quantise<'a> {
    dtype: Dtype,
    d_model: usize,
    words: &'a [u8],
    scales: &'a mut [u8],
    quantised: &'a mut [u8],
}

impl Kernel for Quantise<'_> {
    type Output = RoundingError;

    #[inline(always)]
    fn run(self) -> RoundingError {
        let Self { dtype, d_model, words, scales, quantised } = self;
        let mut row = vec![0_f32; d_model];
        let mut error = RoundingError::default();
        let rows = words.chunks_exact(d_model * dtype.bytes());
        for ((words, scale_bytes), quantised) in
            rows.zip(scales.as_chunks_mut::<SCALE_BYTES>().0).zip(quantised.chunks_exact_mut(d_model))
        {
            dtype.widen(words, &mut row);
            let scale = scale(&row);
            *scale_bytes = scale.to_le_bytes();
            // Zero for rows of zeros and for non-finite rows.
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            for (number, element) in quantised.iter_mut().zip(&row) {
                *number = (element * inverse).round_ties_even().clamp(-LARGEST, LARGEST) as i8 as u8;
            }
            if scale.is_finite() {
                error.add(row_error(&row, scale, quantised));
            }
        }
        error
    }
}

/// Returns the scale of a row; NaN if an element is not finite. Returns 0 if the scale would be subnormal, so that the
/// row is stored as zeros.
#[inline(always)]
fn scale(row: &[f32]) -> f32 {
    let mut largest = 0_f32;
    let mut finite = true;
    for element in row {
        largest = if element.abs() > largest { element.abs() } else { largest };
        finite &= element.is_finite();
    }
    let scale = largest / LARGEST;
    match finite {
        true if scale.is_normal() => scale,
        true => 0.0,
        false => f32::NAN,
    }
}

#[inline(always)]
fn row_error(row: &[f32], scale: f32, quantised: &[u8]) -> RoundingError {
    let mut error = RoundingError::default();
    for (element, number) in row.iter().zip(quantised) {
        let element = f64::from(*element);
        let difference = f64::from(scale * f32::from(*number as i8)) - element;
        error.squared_error += difference * difference;
        error.squares += element * element;
    }
    error
}

struct Restore<'a> {
    d_model: usize,
    scales: &'a [u8],
    quantised: &'a [u8],
    words: &'a mut [u8],
}

impl Kernel for Restore<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { d_model, scales, quantised, words } = self;
        let rows = scales.as_chunks::<SCALE_BYTES>().0.iter().zip(quantised.chunks_exact(d_model));
        for ((scale, numbers), words) in rows.zip(words.chunks_exact_mut(d_model * Dtype::F32.bytes())) {
            let scale = f32::from_le_bytes(*scale);
            for (word, number) in words.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
                *word = (scale * f32::from(*number as i8)).to_le_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(d_model: usize, values: &[f32]) -> (Vec<f32>, RoundingError) {
        let words: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let rows = values.len() / d_model;
        let (mut scales, mut quantised) = (vec![0; rows * SCALE_BYTES], vec![0; values.len()]);
        let error = quantise(Dtype::F32, d_model, &words, &mut scales, &mut quantised);
        let mut read = vec![0; words.len()];
        restore(d_model, &scales, &quantised, &mut read);
        (read.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect(), error)
    }

    #[test]
    fn whole_numbers_up_to_127_are_kept() {
        let values: Vec<f32> = (-127_i16..=127).map(f32::from).collect();
        let (read, error) = there_and_back(255, &values);
        assert_eq!(read, values);
        assert!(error.relative().abs() < f64::EPSILON);
    }

    #[test]
    fn halves_go_to_even() {
        let (read, _) = there_and_back(5, &[127.0, 0.5, 1.5, -2.5, -3.5]);
        assert!(read.iter().zip([127.0, 0.0, 2.0, -2.0, -4.0]).all(|(got, expected)| (got - expected).abs() < 1e-6));
    }

    #[test]
    fn rows_that_are_not_finite_are_read_as_nan_and_do_not_count() {
        let (read, error) = there_and_back(2, &[1.0, f32::NAN, f32::INFINITY, 2.0, 0.0, 0.0, 1e-40, -1e-40]);
        assert!(read[..4].iter().all(|value| value.is_nan()));
        assert!(read[4..].iter().all(|value| *value == 0.0), "{read:?}");
        assert!(error.squares < 1e-70);
        assert!(RoundingError::default().relative().abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn no_element_is_off_by_more_than_half_a_step(values in prop::collection::vec(-1e6_f32..1e6, 8 * 3)) {
            let (read, error) = there_and_back(8, &values);
            let mut squared_error = 0.0;
            let mut squares = 0.0;
            for (given, read) in values.chunks(8).zip(read.chunks(8)) {
                let step = given.iter().fold(0.0, |largest: f32, value| largest.max(value.abs())) / 127.0;
                for (given, read) in given.iter().zip(read) {
                    prop_assert!((given - read).abs() <= step * 0.5001, "{given} {read} {step}");
                    squared_error += (f64::from(*given) - f64::from(*read)).powi(2);
                    squares += f64::from(*given).powi(2);
                }
            }
            prop_assert!((error.squared_error - squared_error).abs() <= 1e-12 * squared_error);
            prop_assert!((error.squares - squares).abs() <= 1e-12 * squares);
        }
    }
}
