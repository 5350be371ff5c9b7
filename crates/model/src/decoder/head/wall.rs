//! Logits put together from tiles.

/// Rows of logits, `[rows, vocab]` words, tiled from the left.
#[derive(Debug)]
pub(super) struct Wall<'bytes> {
    /// Those of the rows, once it is known how many bytes a word has.
    bytes: &'bytes mut Vec<u8>,
    /// Where the rows begin in `bytes`.
    start: usize,
    rows: usize,
    vocab_size: usize,
}

impl<'bytes> Wall<'bytes> {
    /// Room for so many rows behind what `bytes` hold.
    pub(super) fn behind(bytes: &'bytes mut Vec<u8>, rows: usize, vocab_size: usize) -> Self {
        Self { start: bytes.len(), bytes, rows, vocab_size }
    }

    /// Puts a tile `[rows, tokens]` into its place.
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
