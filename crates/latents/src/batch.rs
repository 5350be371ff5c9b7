//! The rows of a batch.

/// The rows of a batch, which are the tokens of whole sequences: their places and their groups.
#[derive(Debug)]
pub struct RowLabels {
    sequences: Vec<SequenceRows>,
    /// `[rows]`: index of each row's sequence in `sequences`.
    of_row: Vec<u32>,
    /// `[rows · per_row]`: numbers of each row's groups.
    groups: Vec<u32>,
    per_row: usize,
}

/// The rows of a sequence.
#[derive(Debug, Clone, Copy)]
struct SequenceRows {
    id: u64,
    first: u32,
    length: u32,
}

/// The rows of a batch that an SAE reads.
#[derive(Debug)]
pub struct BatchRows<'batch> {
    pub(crate) labels: &'batch RowLabels,
    /// The rows, in ascending order.
    kept: Vec<u32>,
    /// `[rows]`: whether the row is kept.
    is_kept: Vec<bool>,
}

impl RowLabels {
    /// The rows of sequences, given as ids and lengths. `groups` are the numbers of each row's groups, the same count of them
    /// for each row, row by row.
    pub fn new(sequences: impl Iterator<Item = (u64, u32)>, groups: Vec<u32>) -> Self {
        let (mut all, mut of_row) = (Vec::new(), Vec::new());
        for (id, length) in sequences {
            let first = of_row.len() as u32;
            of_row.extend(std::iter::repeat_n(all.len() as u32, length as usize));
            all.push(SequenceRows { id, first, length });
        }
        let per_row = groups.len().checked_div(of_row.len()).unwrap_or(0);
        Self { sequences: all, of_row, groups, per_row }
    }

    /// The id of a row's sequence, and the row's position in it.
    pub(crate) fn place(&self, row: u32) -> (u64, u32) {
        let sequence = self.sequence(row);
        (sequence.id, row - sequence.first)
    }

    /// The numbers of a row's groups.
    pub(crate) fn groups(&self, row: u32) -> &[u32] {
        &self.groups[row as usize * self.per_row..][..self.per_row]
    }

    /// The rows of the same sequence, as many as `window` before the row and after it.
    pub(crate) fn window(&self, row: u32, window: u32) -> std::ops::Range<u32> {
        let SequenceRows { first, length, .. } = self.sequence(row);
        row.saturating_sub(window).max(first)..row.saturating_add(window).saturating_add(1).min(first + length)
    }

    fn sequence(&self, row: u32) -> SequenceRows {
        self.sequences[self.of_row[row as usize] as usize]
    }
}

impl<'batch> BatchRows<'batch> {
    /// The rows at these indices, which must be in ascending order.
    pub fn new(labels: &'batch RowLabels, kept: &[i64]) -> Self {
        let mut is_kept = vec![false; labels.of_row.len()];
        for &row in kept {
            is_kept[row as usize] = true;
        }
        Self { labels, kept: kept.iter().map(|&row| row as u32).collect(), is_kept }
    }

    /// The rows.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.kept
    }

    /// Whether the SAE reads a row of the batch.
    pub(crate) fn has(&self, row: u32) -> bool {
        self.is_kept[row as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_places_and_windows_end_with_their_sequences() {
        let labels = RowLabels::new([(7, 3), (4, 2)].into_iter(), vec![0, 5, 0, 6, 0, 6, 1, 5, 1, 5]);
        assert_eq!((0..5).map(|row| labels.place(row)).collect::<Vec<_>>(), [(7, 0), (7, 1), (7, 2), (4, 0), (4, 1)]);
        assert_eq!((labels.groups(0), labels.groups(2), labels.groups(3)), (&[0, 5][..], &[0, 6][..], &[1, 5][..]));
        assert_eq!((labels.window(1, 1), labels.window(2, 9), labels.window(3, 1)), (0..3, 0..3, 3..5));
        assert_eq!((labels.window(4, 0), labels.window(4, u32::MAX)), (4..5, 3..5));
        let rows = BatchRows::new(&labels, &[1, 4]);
        assert_eq!((rows.rows(), rows.has(1), rows.has(2)), (&[1, 4][..], true, false));
    }
}
