//! The mixing buffer.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::error::RowsError;
use crate::stream::row_memory::RowMemory;
use crate::stream::row_run::{Origin, RowRun};

/// Rows that a thread copies at a time, so that threads are not woken for less than that.
const ROWS_OF_A_THREAD: usize = 64;

/// A bounded pool of rows. Each incoming row replaces one that is drawn.
#[derive(Debug)]
pub(super) struct MixingBuffer {
    row_bytes: usize,
    /// `[capacity, d_model]`.
    bytes: RowMemory,
    origins: Vec<Origin>,
    /// Where in `bytes` the row of each origin is.
    slots: Vec<u32>,
}

impl MixingBuffer {
    pub(super) fn new(row_bytes: usize, capacity: usize) -> Result<Self, RowsError> {
        let bytes = RowMemory::new(capacity.saturating_mul(row_bytes))?;
        let (origins, slots) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Ok(Self { row_bytes, bytes, origins, slots })
    }

    /// Creates a buffer for rows of these origins. The caller fills in the bytes with [`Self::row_mut`].
    pub(super) fn of(row_bytes: usize, origins: Vec<Origin>) -> Result<Self, RowsError> {
        let bytes = RowMemory::new(origins.len().saturating_mul(row_bytes))?;
        let slots = (0..origins.len() as u32).collect();
        Ok(Self { row_bytes, bytes, origins, slots })
    }

    pub(super) fn len(&self) -> usize {
        self.origins.len()
    }

    pub(super) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    pub(super) fn row_mut(&mut self, place: usize) -> &mut [u8] {
        let start = self.slots[place] as usize * self.row_bytes;
        &mut self.bytes[start..start + self.row_bytes]
    }

    /// Adds rows, for which there is capacity.
    pub(super) fn push(&mut self, run: &RowRun<'_>) {
        let first = self.len();
        self.origins.extend(run.origins());
        self.slots.extend(first as u32..self.origins.len() as u32);
        copy_rows(self.bytes[first * self.row_bytes..].chunks_exact_mut(self.row_bytes), run.iter());
    }

    /// Replaces a row by each of a run, in order, and copies the replaced ones to `out`. `choose` gives the place of a row
    /// from the number of rows. Returns the origins of those in `out`.
    pub(super) fn exchange(
        &mut self,
        run: &RowRun<'_>,
        mut choose: impl FnMut(usize) -> usize,
        out: &mut [u8],
    ) -> Vec<Origin> {
        // For each slot the last row of the run that goes there.
        let mut incoming: BTreeMap<usize, usize> = BTreeMap::new();
        let (mut origins, mut replaced) = (Vec::new(), Vec::new());
        for (index, origin) in run.origins().enumerate() {
            let place = choose(self.len());
            let slot = self.slots[place] as usize;
            origins.push(std::mem::replace(&mut self.origins[place], origin));
            replaced.push(match incoming.insert(slot, index) {
                Some(earlier) => run.row(earlier),
                None => &self.bytes[slot * self.row_bytes..(slot + 1) * self.row_bytes],
            });
        }
        copy_rows(out.chunks_exact_mut(self.row_bytes), replaced.into_iter());
        let (mut rest, mut end) = (&mut self.bytes[..], 0);
        let slots = incoming.keys().map(|&slot| {
            let (row, after) = std::mem::take(&mut rest)[(slot - end) * self.row_bytes..].split_at_mut(self.row_bytes);
            (rest, end) = (after, slot + 1);
            row
        });
        copy_rows(slots, incoming.values().map(|&index| run.row(index)));
        origins
    }

    /// Removes up to `count` rows and copies them to `out`. `choose` gives the place of a row from the number of rows that
    /// are left. The last row takes its place. Returns their origins.
    pub(super) fn remove(
        &mut self,
        count: usize,
        mut choose: impl FnMut(usize) -> usize,
        out: &mut [u8],
    ) -> Vec<Origin> {
        let (mut origins, mut removed) = (Vec::new(), Vec::new());
        for _ in 0..count.min(self.len()) {
            let place = choose(self.len());
            let start = self.slots.swap_remove(place) as usize * self.row_bytes;
            origins.push(self.origins.swap_remove(place));
            removed.push(&self.bytes[start..start + self.row_bytes]);
        }
        copy_rows(out.chunks_exact_mut(self.row_bytes), removed.into_iter());
        origins
    }
}

/// Copies rows to as many places, by all threads.
pub(super) fn copy_rows<'rows>(to: impl Iterator<Item = &'rows mut [u8]>, from: impl Iterator<Item = &'rows [u8]>) {
    let pairs: Vec<_> = to.zip(from).collect();
    pairs.into_par_iter().with_min_len(ROWS_OF_A_THREAD).for_each(|(to, from)| to.copy_from_slice(from));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::generator::{Generator, Purpose};

    const ROW_BYTES: usize = 4;

    /// Rows `from` to `from + count` of row group 0. The bytes of a row are its number.
    fn rows(from: u32, count: u32) -> (Vec<u32>, Vec<u8>) {
        ((from..from + count).collect(), (0..from + count).flat_map(u32::to_le_bytes).collect())
    }

    fn numbers(origins: &[Origin]) -> Vec<u32> {
        origins.iter().map(|origin| origin.row).collect()
    }

    fn of_bytes(bytes: &[u8]) -> Vec<u32> {
        bytes.as_chunks().0.iter().map(|row| u32::from_le_bytes(*row)).collect()
    }

    /// Runs of any length give the rows that one row after the other would, from a list.
    #[test]
    fn runs_are_exchanged_as_row_by_row_and_origins_stay_with_their_rows() {
        let mut generator = Generator::new(1, Purpose::Batch, 0);
        let mut buffer = MixingBuffer::new(ROW_BYTES, 10).unwrap();
        let (first, bytes) = rows(0, 10);
        buffer.push(&RowRun::new(0, &first[..4], &bytes, ROW_BYTES));
        buffer.push(&RowRun::new(0, &first[4..], &bytes, ROW_BYTES));
        let mut list = first;
        let mut next = 10;
        // In the runs longer than the buffer, rows come and go within a run.
        for (count, removed) in [(1, 0), (7, 0), (50, 3), (4, 2), (300, 0), (3, 4), (9, 1)] {
            let places: Vec<usize> = (0..count).map(|_| generator.below(list.len())).collect();
            let (own, bytes) = rows(next, count);
            next += count;
            let expected: Vec<u32> =
                places.iter().zip(&own).map(|(&place, &row)| std::mem::replace(&mut list[place], row)).collect();
            let mut out = vec![0; count as usize * ROW_BYTES];
            let mut chosen = places.into_iter();
            let choose = |waiting| chosen.next().filter(|&place| place < waiting).unwrap();
            let origins = buffer.exchange(&RowRun::new(0, &own, &bytes, ROW_BYTES), choose, &mut out);
            assert_eq!((numbers(&origins), of_bytes(&out)), (expected.clone(), expected));

            let expected: Vec<u32> = (0..removed).map(|_| list.swap_remove(list.len() / 2)).collect();
            let mut out = vec![0; removed * ROW_BYTES];
            let origins = buffer.remove(removed, |waiting| waiting / 2, &mut out);
            assert_eq!((numbers(&origins), of_bytes(&out)), (expected.clone(), expected));
            let held: Vec<u32> = (0..buffer.len()).flat_map(|place| of_bytes(buffer.row_mut(place))).collect();
            assert_eq!((numbers(buffer.origins()), &held), (list.clone(), &list));
        }
        assert!(
            buffer.len() == 0 && buffer.remove(5, |_| 0, &mut [0; 20]).is_empty(),
            "more is asked for than is there"
        );
    }
}
