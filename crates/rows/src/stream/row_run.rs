//! Rows of a row group, and where they are from.

/// The origin of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Index of its row group in the cache.
    pub row_group: u32,
    /// Index in the row group.
    pub row: u32,
}

/// Kept rows of a row group, in its order.
#[derive(Debug)]
pub(super) struct RowRun<'stream> {
    /// Index of the row group in the cache.
    row_group: u32,
    /// Indices in the row group.
    rows: &'stream [u32],
    /// The whole row group, `[rows, d_model]`.
    bytes: &'stream [u8],
    row_bytes: usize,
}

impl<'stream> RowRun<'stream> {
    pub(super) fn new(row_group: u32, rows: &'stream [u32], bytes: &'stream [u8], row_bytes: usize) -> Self {
        Self { row_group, rows, bytes, row_bytes }
    }

    pub(super) fn row(&self, index: usize) -> &[u8] {
        let start = self.rows[index] as usize * self.row_bytes;
        &self.bytes[start..start + self.row_bytes]
    }

    /// `[rows, d_model]`: the rows one by one.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.rows.len()).map(|index| self.row(index))
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = Origin> {
        self.rows.iter().map(|&row| Origin { row_group: self.row_group, row })
    }
}
