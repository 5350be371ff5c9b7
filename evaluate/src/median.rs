//! The median of more numbers than there is memory for.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

/// Bits that one reading of the numbers settles.
const DIGIT: u32 = 16;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Numbers that are not negative, in a file without a name that is gone with this: eight bytes each on the disk, and a fixed amount of
/// memory.
#[derive(Debug)]
pub(crate) struct Numbers {
    file: BufWriter<File>,
    count: u64,
}

impl Numbers {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(READ_BYTES, tempfile::tempfile()?), count: 0 })
    }

    pub(crate) fn extend(&mut self, numbers: &[f64]) -> io::Result<()> {
        self.count += numbers.len() as u64;
        numbers.iter().try_for_each(|number| self.file.write_all(&number.to_bits().to_le_bytes()))
    }

    /// The one in the middle, or the lower of the two, as `torch.median` gives; `None` of no numbers.
    ///
    /// The bits of numbers that are not negative are in the numbers' order. So they are settled from the highest on, sixteen with each
    /// reading: by counting how many of the numbers that begin with those settled before have each of the values that come next.
    pub(crate) fn median(self) -> io::Result<Option<f64>> {
        let Some(mut before) = self.count.checked_sub(1).map(|last| last / 2) else { return Ok(None) };
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut settled = 0;
        for shift in (0..u64::BITS).step_by(DIGIT as usize).rev() {
            let counts = counts(&mut file, settled, shift)?;
            let mut value = 0;
            while before >= counts[value] {
                before -= counts[value];
                value += 1;
            }
            settled |= (value as u64) << shift;
        }
        Ok(Some(f64::from_bits(settled)))
    }
}

/// How many numbers that are `settled` above the digit at `shift` have each value there.
fn counts(file: &mut File, settled: u64, shift: u32) -> io::Result<Vec<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let mut counts = vec![0; 1 << DIGIT];
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let mut held = 0;
        while held < bytes.len() {
            match file.read(&mut bytes[held..])? {
                0 => break,
                read => held += read,
            }
        }
        for word in bytes[..held].as_chunks::<8>().0 {
            let (number, above) = (u64::from_le_bytes(*word), shift + DIGIT);
            // No shift is as wide as a number.
            if number.checked_shr(above).unwrap_or(0) == settled.checked_shr(above).unwrap_or(0) {
                counts[(number >> shift) as usize & ((1 << DIGIT) - 1)] += 1;
            }
        }
        if held < bytes.len() {
            return Ok(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_sorted_numbers() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        // Apart in every bit, nearly the same, many times the same, and more than are read at a time.
        let spread: Vec<f64> =
            (0..1000).map(|_| f64::from_bits(next() >> 1)).filter(|number| number.is_finite()).collect();
        let near: Vec<f64> = (0..999).map(|_| f64::from_bits(1.5f64.to_bits() + next() % 50)).collect();
        let same = vec![0.0, 3.25, 3.25, 3.25, 3.25, f64::MAX];
        let many: Vec<f64> = (0..READ_BYTES / 4).map(|_| (next() % 1_000_003) as f64).collect();
        for mut numbers in [spread, near, same, many, vec![2.0], vec![2.0, 1.0], vec![0.0]] {
            let mut kept = Numbers::new().unwrap();
            for part in numbers.chunks(17) {
                kept.extend(part).unwrap();
            }
            let got = kept.median().unwrap().unwrap();
            numbers.sort_by(f64::total_cmp);
            assert_eq!(got.to_bits(), numbers[(numbers.len() - 1) / 2].to_bits());
        }
        assert_eq!(Numbers::new().unwrap().median().unwrap(), None);
    }
}
