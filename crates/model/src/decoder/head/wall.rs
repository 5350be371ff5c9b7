//! Assembly of logits from tiles.

/// Rows of logits, `[rows, vocab]` words, filled in from tiles, left to right.
#[derive(Debug)]
pub(super) struct Wall<'bytes> {
    /// The output buffer. Grows when the first tile gives the size of a word.
    bytes: &'bytes mut Vec<u8>,
    /// Offset of the rows in `bytes`.
    start: usize,
    rows: usize,
    vocab_size: usize,
}

impl<'bytes> Wall<'bytes> {
    /// Appends this many rows to `bytes`.
    pub(super) fn behind(bytes: &'bytes mut Vec<u8>, rows: usize, vocab_size: usize) -> Self {
        Self { start: bytes.len(), bytes, rows, vocab_size }
    }

    /// Writes a tile `[rows, tokens]`.
    pub(super) fn put(&mut self, first: usize, tokens: usize, tile: &[u8]) {
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
    fn tiles_find_their_places_behind_what_is_there() {
        let mut bytes = vec![9, 9];
        let mut wall = Wall::behind(&mut bytes, 2, 3);
        wall.put(0, 2, &[1, 1, 2, 2, 4, 4, 5, 5]);
        wall.put(2, 1, &[3, 3, 6, 6]);
        assert_eq!(bytes, [9, 9, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
    }

    #[test]
    fn no_rows_take_no_room() {
        let mut bytes = vec![9];
        Wall::behind(&mut bytes, 0, 3).put(0, 3, &[]);
        assert_eq!(bytes, [9]);
    }
}
