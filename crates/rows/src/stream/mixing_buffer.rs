//! The mixing buffer.

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
    /// `[origins, d_model]`.
    bytes: Vec<u8>,
    origins: Vec<Origin>,
}

impl MixingBuffer {
    pub(super) fn new(row_bytes: usize, capacity: usize) -> Self {
        Self { row_bytes, bytes: Vec::with_capacity(capacity * row_bytes), origins: Vec::with_capacity(capacity) }
    }

    /// Creates a buffer for rows of these origins. The caller fills in the bytes with [`Self::row_mut`].
    pub(super) fn of(row_bytes: usize, origins: Vec<Origin>) -> Self {
        Self { row_bytes, bytes: vec![0; origins.len() * row_bytes], origins }
    }

    pub(super) fn len(&self) -> usize {
        self.origins.len()
    }

    pub(super) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    pub(super) fn row_mut(&mut self, place: usize) -> &mut [u8] {
        &mut self.bytes[place * self.row_bytes..(place + 1) * self.row_bytes]
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[u8], origin: Origin) {
        self.bytes.extend_from_slice(row);
        self.origins.push(origin);
    }

    /// Replaces the row at `place`, appends the old row to `out` and returns its origin.
    pub(super) fn exchange(&mut self, place: usize, row: &[u8], origin: Origin, out: &mut Vec<u8>) -> Origin {
        let held = self.row_mut(place);
        out.extend_from_slice(held);
        held.copy_from_slice(row);
        std::mem::replace(&mut self.origins[place], origin)
    }

    /// Removes the row at `place`, appends it to `out` and returns its origin. The last row takes its place.
    pub(super) fn remove(&mut self, place: usize, out: &mut Vec<u8>) -> Origin {
        let last = self.len() - 1;
        out.extend_from_slice(self.row_mut(place));
        let (from, row_bytes) = (last * self.row_bytes, self.row_bytes);
        self.bytes.copy_within(from.., place * row_bytes);
        self.bytes.truncate(from);
        self.origins.swap_remove(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_their_origins_stay_together() {
        let origin = |row_group| Origin { row_group, row: 0 };
        let mut buffer = MixingBuffer::new(2, 2);
        buffer.push(&[1, 1], origin(1));
        buffer.push(&[2, 2], origin(2));
        let mut out = Vec::new();
        assert_eq!(buffer.exchange(1, &[3, 3], origin(3), &mut out), origin(2));
        assert_eq!(buffer.exchange(1, &[4, 4], origin(4), &mut out), origin(3));
        assert_eq!(out, [2, 2, 3, 3]);
        assert_eq!(buffer.origins(), [origin(1), origin(4)]);
        assert_eq!(buffer.row_mut(0), [1, 1]);
        assert_eq!(buffer.remove(0, &mut out), origin(1));
        assert_eq!((buffer.origins(), &out[4..]), (&[origin(4)][..], &[1, 1][..]));
        assert_eq!(buffer.remove(0, &mut out), origin(4));
        assert_eq!((buffer.len(), &out[6..]), (0, &[4, 4][..]));
    }
}
