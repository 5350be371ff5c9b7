//! Assembly of logits from tiles.

/// Rows of logits, `[rows, vocab]` words, filled in from tiles, left to right.
#[derive(Debug)]
pub(super) struct LogitTiles<'bytes> {
    /// The output buffer. Grows when the first tile gives the size of a word.
    bytes: &'bytes mut Vec<u8>,
    /// Offset of the rows in `bytes`.
    start: usize,
    rows: usize,
    vocab_size: usize,
}

impl<'bytes> LogitTiles<'bytes> {
    /// Appends this many rows to `bytes`.
    pub(super) fn append_to(bytes: &'bytes mut Vec<u8>, rows: usize, vocab_size: usize) -> Self {
        Self { start: bytes.len(), bytes, rows, vocab_size }
    }

    /// Writes a tile `[rows, tokens]`.
    pub(super) fn write(&mut self, first: usize, tokens: usize, tile: &[u8]) {
        let words = self.rows * tokens;
        if words == 0 {
            return;
        }
        let word = tile.len() / words;
        self.bytes.resize(self.start + self.rows * self.vocab_size * word, 0);
        let rows = self.bytes[self.start..].chunks_exact_mut(self.vocab_size * word);
        for (row, tile) in rows.zip(tile.chunks_exact(tokens * word)) {
            row[first * word..(first + tokens) * word].copy_from_slice(tile);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_written_in_their_places_after_earlier_bytes() {
        let mut bytes = vec![9, 9];
        let mut tiles = LogitTiles::append_to(&mut bytes, 2, 3);
        tiles.write(0, 2, &[1, 1, 2, 2, 4, 4, 5, 5]);
        tiles.write(2, 1, &[3, 3, 6, 6]);
        assert_eq!(bytes, [9, 9, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    }

    #[test]
    fn no_rows_append_no_bytes() {
        let mut bytes = vec![9];
        LogitTiles::append_to(&mut bytes, 0, 3).write(0, 3, &[]);
        assert_eq!(bytes, [9]);
    }
}
