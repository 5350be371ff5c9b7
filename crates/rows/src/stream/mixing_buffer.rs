//! The mixing buffer.

use crate::error::RowsError;
use crate::stream::row_memory::RowMemory;

/// The origin of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Index of its row group in the cache.
    pub row_group: u32,
    /// Index in the row group.
    pub row: u32,
}

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

    /// Adds a row, for which there is capacity.
    pub(super) fn push(&mut self, row: &[u8], origin: Origin) {
        self.slots.push(self.len() as u32);
        self.origins.push(origin);
        self.row_mut(self.len() - 1).copy_from_slice(row);
    }

    /// Replaces the row at `place`, copies the old row to `out` and returns its origin.
    pub(super) fn exchange(&mut self, place: usize, row: &[u8], origin: Origin, out: &mut [u8]) -> Origin {
        let held = self.row_mut(place);
        out.copy_from_slice(held);
        held.copy_from_slice(row);
        std::mem::replace(&mut self.origins[place], origin)
    }

    /// Removes the row at `place`, copies it to `out` and returns its origin. The last row takes its place.
    pub(super) fn remove(&mut self, place: usize, out: &mut [u8]) -> Origin {
        out.copy_from_slice(self.row_mut(place));
        self.slots.swap_remove(place);
        self.origins.swap_remove(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_their_origins_stay_together() {
        let origin = |row_group| Origin { row_group, row: 0 };
        let mut buffer = MixingBuffer::new(2, 2).unwrap();
        buffer.push(&[1, 1], origin(1));
        buffer.push(&[2, 2], origin(2));
        let mut out = [0; 2];
        assert_eq!((buffer.exchange(1, &[3, 3], origin(3), &mut out), out), (origin(2), [2, 2]));
        assert_eq!((buffer.exchange(1, &[4, 4], origin(4), &mut out), out), (origin(3), [3, 3]));
        assert_eq!(buffer.origins(), [origin(1), origin(4)]);
        assert_eq!(buffer.row_mut(0), [1, 1]);
        assert_eq!((buffer.remove(0, &mut out), out), (origin(1), [1, 1]));
        assert_eq!(buffer.origins(), [origin(4)]);
        assert_eq!(buffer.row_mut(0), [4, 4]);
        assert_eq!((buffer.remove(0, &mut out), out), (origin(4), [4, 4]));
        assert_eq!(buffer.len(), 0);
    }
}
