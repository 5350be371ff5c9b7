//! Some sequences of a row group on their way from the cache to the device.

use std::ops::Range;
use std::sync::Arc;

use hayloft_store::{ActivationReader, Predictions, Section, Sequence, Tokens};
use hayloft_terminal::Phase;
use tch::{Device, Kind, TchError, Tensor};

use crate::EvaluateError;
use crate::kl::{KlWay, Largest};
use crate::section_choice::SectionChoice;
use crate::source::kind;

/// A step's worth of a row group as read: whole sequences, their activations one after another without padding.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The place of its shard in the manifest's list.
    pub(crate) place: usize,
    /// The shard's number in the plan.
    pub(crate) shard: usize,
    /// Its own number in the shard.
    pub(crate) row_group: usize,
    pub(crate) layout: Layout,
    /// Little-endian words of type `kind`: the whole row group's, shared by its batches.
    bits: Arc<Vec<u8>>,
    /// Where in `bits` this batch's `[rows, d_model]` start.
    start: usize,
    kind: Kind,
    d_model: usize,
    /// `[rows]`: the section of each row.
    sections: Vec<Section>,
    /// `[rows]`: the next token of each row's sequence, -1 in the last row.
    labels: Vec<i64>,
    /// `[rows]`: the cached loss of each row in nats, NaN in the last row of a sequence; `None` if not kept.
    losses: Option<Vec<f32>>,
    /// Where its logits are; `None` where nothing is computed from them.
    logits: Option<StoredLogits>,
    /// `[rows]`: the largest cached logits of each row; empty where nothing is computed from them.
    largest: Largest,
}

/// Where the cache keeps all logits of a batch.
#[derive(Debug)]
struct StoredLogits {
    reader: Arc<ActivationReader>,
    /// In the row group.
    rows: Range<usize>,
}

/// Where the rows of a batch lie in a batch padded on the right, `[sequences, length]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) sequences: usize,
    /// The longest sequence.
    pub(crate) length: usize,
    /// `[rows]`: the place of each row in the padded batch, flattened.
    pub(crate) slots: Vec<i64>,
}

impl Layout {
    /// The sequences that some rows, in their order, are of, each once.
    pub(crate) fn sequences_of(&self, rows: &[i64]) -> Vec<i64> {
        let mut sequences: Vec<i64> = rows.iter().map(|&row| self.slots[row as usize] / self.length as i64).collect();
        sequences.dedup();
        sequences
    }

    fn of(lengths: impl Iterator<Item = usize> + Clone) -> Self {
        let length = lengths.clone().max().unwrap_or(0);
        let slots = lengths.clone().enumerate().flat_map(|(sequence, own)| {
            let first = sequence * length;
            (first..first + own).map(|slot| slot as i64)
        });
        Self { sequences: lengths.count(), length, slots: slots.collect() }
    }
}

/// The tables of a shard, read once for all its row groups.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) place: usize,
    pub(crate) shard: usize,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) tokens: Tokens,
    pub(crate) predictions: Option<Predictions>,
    /// The file of all logits, if divergences are computed from them.
    pub(crate) logits: Option<Arc<ActivationReader>>,
    /// What divergences are computed from, if any are.
    pub(crate) kl: Option<KlWay>,
    pub(crate) kind: Kind,
}

impl Tables {
    fn largest(&self, rows: Range<usize>) -> Largest {
        match (&self.predictions, self.kl) {
            (Some(predictions), Some(KlWay::Bound { .. })) => Largest::of(predictions, rows),
            _ => Largest::default(),
        }
    }
}

impl Batch {
    /// Reads and verifies one row group of the shard that `tables` are of, and cuts it into batches: `cut` gives the ranges
    /// of sequences for their lengths.
    pub(crate) fn read(
        tables: &Tables,
        reader: &ActivationReader,
        row_group: usize,
        cut: impl FnOnce(&[usize]) -> Vec<Range<usize>>,
    ) -> Result<Vec<Self>, EvaluateError> {
        let mut bits = Vec::new();
        {
            let _phase = Phase::Decode.begin(0);
            reader.read(row_group, &mut bits)?;
        }
        let bits = Arc::new(bits);
        let own: Vec<&Sequence> =
            tables.sequences.iter().filter(|sequence| sequence.row_group as usize == row_group).collect();
        let lengths: Vec<usize> = own.iter().map(|sequence| sequence.length as usize).collect();
        // The store has checked that a row group's sequences follow one another without gaps.
        let first_row = own.first().map_or(0, |sequence| sequence.first_row as usize);
        let batch = |sequences: &[&Sequence]| {
            let layout = Layout::of(sequences.iter().map(|sequence| sequence.length as usize));
            let first = sequences.first().map_or(first_row, |sequence| sequence.first_row as usize);
            let rows = first..first + layout.slots.len();
            let mut labels = Vec::with_capacity(rows.len());
            for sequence in sequences {
                let start = sequence.first_row as usize;
                let tokens = &tables.tokens.token[start..start + sequence.length as usize];
                labels.extend(tokens[1..].iter().map(|&token| i64::from(token)));
                labels.push(-1);
            }
            Self {
                place: tables.place,
                shard: tables.shard,
                row_group,
                bits: Arc::clone(&bits),
                start: (first - first_row) * reader.d_model() * tables.kind.elt_size_in_bytes(),
                kind: tables.kind,
                d_model: reader.d_model(),
                sections: tables.tokens.section[rows.clone()].to_vec(),
                losses: tables.predictions.as_ref().map(|predictions| predictions.loss[rows.clone()].to_vec()),
                logits: tables.logits.as_ref().map(|reader| StoredLogits {
                    reader: Arc::clone(reader),
                    rows: rows.start - first_row..rows.end - first_row,
                }),
                largest: tables.largest(rows),
                labels,
                layout,
            }
        };
        Ok(cut(&lengths).into_iter().map(|range| batch(&own[range])).collect())
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.sections.len()
    }

    /// Rows of a section.
    pub(crate) fn members(&self, section: SectionChoice) -> Vec<i64> {
        self.rows_where(|row| section.contains(self.sections[row]))
    }

    /// Rows of a section whose loss counts: those with a next token.
    pub(crate) fn counted(&self, section: SectionChoice) -> Vec<i64> {
        self.rows_where(|row| section.contains(self.sections[row]) && self.labels[row] >= 0)
    }

    /// Whether a row is of a section.
    pub(crate) fn is_member(&self, row: i64, section: SectionChoice) -> bool {
        section.contains(self.sections[row as usize])
    }

    /// The next tokens at some rows.
    pub(crate) fn labels_at(&self, rows: &[i64]) -> Vec<i64> {
        rows.iter().map(|&row| self.labels[row as usize]).collect()
    }

    /// The places in the batch of the sequences that some rows are of, one for each row.
    pub(crate) fn sequences_at(&self, rows: &[i64]) -> Vec<usize> {
        rows.iter().map(|&row| self.layout.slots[row as usize] as usize / self.layout.length).collect()
    }

    /// What the values at some rows add up to in each sequence of the batch.
    pub(crate) fn sums_by_sequence(&self, rows: &[i64], values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.layout.sequences];
        for (sequence, value) in self.sequences_at(rows).into_iter().zip(values) {
            sums[sequence] += value;
        }
        sums
    }

    /// The positions of some rows in their sequences, counted from zero.
    pub(crate) fn positions_at(&self, rows: &[i64]) -> Vec<usize> {
        rows.iter().map(|&row| self.layout.slots[row as usize] as usize % self.layout.length).collect()
    }

    /// The cached losses at some rows, if they were kept.
    pub(crate) fn losses_at(&self, rows: &[i64]) -> Option<Vec<f32>> {
        let losses = self.losses.as_ref()?;
        Some(rows.iter().map(|&row| losses[row as usize]).collect())
    }

    /// The largest cached logits, if the source was asked for divergences from them.
    pub(crate) fn largest(&self) -> &Largest {
        &self.largest
    }

    /// Reads and verifies all cached logits, `[rows, vocab]` in the type they are stored in, in main memory; `None` if the source
    /// was not asked for divergences from them.
    pub(crate) fn logits(&self) -> Result<Option<Tensor>, EvaluateError> {
        let Some(StoredLogits { reader, rows }) = &self.logits else { return Ok(None) };
        let _phase = Phase::Decode.begin(0);
        let mut bits = Vec::new();
        reader.read_rows(self.row_group, rows.clone(), &mut bits)?;
        if rows.end == reader.rows(self.row_group) {
            reader.release(self.row_group);
        }
        let shape = [rows.len() as i64, reader.d_model() as i64];
        Ok(Some(Tensor::f_from_data_size(&bits, &shape, kind(reader.dtype()))?))
    }

    /// The activations on a device, in the type they are stored in.
    pub(crate) fn to_device(&self, device: Device) -> Result<Activations, TchError> {
        let shape = [self.rows() as i64, self.d_model as i64];
        let bytes = self.rows() * self.d_model * self.kind.elt_size_in_bytes();
        let bits = &self.bits[self.start..self.start + bytes];
        let rows = Tensor::f_from_data_size(bits, &shape, self.kind)?.f_to_device(device)?;
        Ok(Activations { rows })
    }

    fn rows_where(&self, keep: impl Fn(usize) -> bool) -> Vec<i64> {
        (0..self.rows()).filter(|&row| keep(row)).map(|row| row as i64).collect()
    }
}

/// The activations of a batch on a device.
#[derive(Debug)]
pub(crate) struct Activations {
    /// `[rows, d_model]`, in the type they are stored in, unscaled.
    pub(crate) rows: Tensor,
}

impl Activations {
    /// The Euclidean norm of each row, in float64 so that no finite row has an infinite one.
    pub(crate) fn norms(&self) -> Result<Vec<f64>, TchError> {
        let squares = self.rows.f_to_kind(Kind::Double)?.f_square()?;
        Vec::try_from(squares.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Double)?.f_sqrt()?)
    }

    /// Elements of a row.
    pub(crate) fn d_model(&self) -> usize {
        self.rows.size()[1] as usize
    }

    /// Some rows, in order, each at most once, `[n, d_model]`; all of them without a copy.
    pub(crate) fn at(&self, rows: &[i64]) -> Result<Tensor, TchError> {
        if rows.len() as i64 == self.rows.size()[0] {
            return Ok(self.rows.shallow_clone());
        }
        self.rows.f_index_select(0, &Tensor::f_from_slice(rows)?.f_to_device(self.rows.device())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_find_their_places_in_the_padded_batch() {
        let layout = Layout::of([3, 1, 2].into_iter());
        assert_eq!((layout.sequences, layout.length), (3, 3));
        assert_eq!(layout.slots, [0, 1, 2, 3, 6, 7]);
    }
}
