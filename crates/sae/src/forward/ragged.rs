//! Rows of varying length in one buffer.

/// Rows of entries, stored in two allocations.
#[derive(Debug)]
pub(super) struct Ragged<Entry> {
    /// The entries of all rows, including the unfinished row.
    pub(super) entries: Vec<Entry>,
    /// The end of each row's entries.
    ends: Vec<usize>,
}

impl<Entry> Default for Ragged<Entry> {
    fn default() -> Self {
        Self { entries: Vec::new(), ends: Vec::new() }
    }
}

impl<Entry> Ragged<Entry> {
    /// Removes all rows and keeps the allocations.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.ends.clear();
    }

    /// Total number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Finishes the current row.
    #[inline(always)]
    pub(super) fn end_row(&mut self) {
        self.ends.push(self.entries.len());
    }

    /// Sorts the entries of each finished row.
    pub(super) fn sort_rows_by_key<Key: Ord>(&mut self, key: impl Fn(&Entry) -> Key + Copy) {
        let mut start = 0;
        for &end in &self.ends {
            self.entries[start..end].sort_unstable_by_key(key);
            start = end;
        }
    }

    /// The entries of each finished row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[Entry]> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.entries[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_put_in_empty_ones_too() {
        let mut ragged = Ragged::default();
        for row in [&[1, 2][..], &[], &[3]] {
            ragged.entries.extend_from_slice(row);
            ragged.end_row();
        }
        assert_eq!((ragged.len(), ragged.rows().collect::<Vec<_>>()), (3, vec![&[1, 2][..], &[], &[3]]));
        ragged.clear();
        assert_eq!((ragged.len(), ragged.rows().count()), (0, 0));
    }
}
