//! A batch: some sequences of a row group, read from the cache and moved to the device.

use std::ops::Range;
use std::sync::Arc;

use hayloft_model::kind;
use hayloft_results::{KlMethod, ModelWeights, RowSubsets};
use hayloft_rows::{Excluded, LeftOut, OutlierRule, SectionChoice, Verdict};
use hayloft_runtime::Phase;
use hayloft_store::{ActivationReader, Predictions, Section, Sequence, Tokens};
use tch::{Device, Kind, TchError, Tensor};

use crate::error::EvaluateError;
use crate::metrics::kl::Largest;

/// One step of a row group: whole sequences, with their activations concatenated without padding.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Index of the shard in the manifest's list.
    pub(crate) place: usize,
    /// The shard's number in the plan.
    pub(crate) shard: usize,
    /// Index of the row group in the shard.
    pub(crate) row_group: usize,
    pub(crate) layout: Layout,
    /// Id and length of each sequence.
    pub(crate) sequences: Vec<(u64, u32)>,
    /// One per site read, in the order of [`SpliceSite::sites`](crate::session::splice_site::SpliceSite::sites).
    sites: Vec<SiteBits>,
    /// Whether the second site is the target that reconstructions are compared with.
    has_target: bool,
    kind: Kind,
    /// `[rows]`: the section of each row.
    pub(crate) sections: Vec<Section>,
    /// `[rows]`: the subset of each row's token.
    pub(crate) subsets: RowSubsets,
    /// `[rows]`: the turn of each row's token; empty without conversations of several turns.
    pub(crate) turns: Vec<u32>,
    /// `[rows]`: whether the row's token is excluded.
    excluded: Vec<bool>,
    /// `[rows]`: the next token of the row's sequence, -1 in the last row of a sequence.
    labels: Vec<i64>,
    /// `[rows]`: the cached loss of each row in nats, NaN in the last row of a sequence; `None` if not stored.
    losses: Option<Vec<f32>>,
    /// Location of the cached logits; `None` unless divergences use them.
    logits: Option<StoredLogits>,
    /// `[rows]`: the largest cached logits of each row; empty unless divergences use them.
    largest: Largest,
}

/// A site's activations.
#[derive(Debug)]
struct SiteBits {
    /// Little-endian words of the whole row group, shared by its batches.
    bits: Arc<Vec<u8>>,
    /// Offset in `bits` of the batch's `[rows, width]`.
    start: usize,
    width: usize,
}

/// Location of the full cached logits of a batch.
#[derive(Debug)]
struct StoredLogits {
    reader: Arc<ActivationReader>,
    /// Rows in the row group.
    rows: Range<usize>,
}

/// Positions of a batch's rows in the right-padded batch `[sequences, length]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) sequences: usize,
    /// Length of the longest sequence.
    pub(crate) length: usize,
    /// `[rows]`: index of each row in the flattened padded batch.
    pub(crate) slots: Vec<i64>,
}

impl Layout {
    /// The distinct sequences of some rows, which must be in order.
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
    pub(crate) has_target: bool,
    pub(crate) place: usize,
    pub(crate) shard: usize,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) tokens: Tokens,
    pub(crate) predictions: Option<Predictions>,
    /// Reader of the full logits, if divergences use them.
    pub(crate) logits: Option<Arc<ActivationReader>>,
    /// How divergences are computed, if requested.
    pub(crate) kl: Option<KlMethod>,
    pub(crate) kind: Kind,
}

impl Tables {
    fn largest(&self, rows: Range<usize>) -> Largest {
        match (&self.predictions, self.kl) {
            (Some(predictions), Some(KlMethod::Bound { .. })) => Largest::of(predictions, rows),
            _ => Largest::default(),
        }
    }
}

impl Batch {
    /// Reads and verifies one row group of the shard of `tables` at the sites of `readers`, and splits it into batches.
    /// `cut` maps sequence lengths to ranges of sequences.
    pub(crate) fn read(
        tables: &Tables,
        readers: &[ActivationReader],
        row_group: usize,
        excluded: &Excluded,
        cut: impl FnOnce(&[usize]) -> Vec<Range<usize>>,
    ) -> Result<Vec<Self>, EvaluateError> {
        let mut sites = Vec::with_capacity(readers.len());
        for reader in readers {
            let _phase = Phase::Decode.begin(0);
            let mut bits = Vec::new();
            reader.read(row_group, &mut bits)?;
            sites.push((Arc::new(bits), reader.d_model()));
        }
        let own: Vec<&Sequence> =
            tables.sequences.iter().filter(|sequence| sequence.row_group as usize == row_group).collect();
        let lengths: Vec<usize> = own.iter().map(|sequence| sequence.length as usize).collect();
        // The store has checked that a row group's sequences are contiguous.
        let first_row = own.first().map_or(0, |sequence| sequence.first_row as usize);
        let of_site = |bits: &Arc<Vec<u8>>, width: usize, first: usize| {
            let start = (first - first_row) * width * tables.kind.elt_size_in_bytes();
            SiteBits { bits: Arc::clone(bits), start, width }
        };
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
                sequences: sequences.iter().map(|sequence| (sequence.id, sequence.length)).collect(),
                sites: sites.iter().map(|(bits, width)| of_site(bits, *width, first)).collect(),
                has_target: tables.has_target,
                kind: tables.kind,
                sections: tables.tokens.section[rows.clone()].to_vec(),
                subsets: RowSubsets::of(&tables.tokens.subset[rows.clone()]),
                turns: tables.tokens.turn.get(rows.clone()).unwrap_or_default().to_vec(),
                excluded: tables.tokens.token[rows.clone()].iter().map(|&token| excluded.contains(token)).collect(),
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

    pub(crate) fn rows(&self) -> usize {
        self.sections.len()
    }

    /// Rows in a section.
    pub(crate) fn members(&self, section: SectionChoice) -> Vec<i64> {
        self.rows_where(|row| section.contains(self.sections[row]))
    }

    /// Rows in a section that have a next token, and so a loss.
    pub(crate) fn counted(&self, section: SectionChoice) -> Vec<i64> {
        self.rows_where(|row| section.contains(self.sections[row]) && self.labels[row] >= 0)
    }

    pub(crate) fn is_member(&self, row: i64, section: SectionChoice) -> bool {
        section.contains(self.sections[row as usize])
    }

    /// The next tokens at some rows.
    pub(crate) fn labels_at(&self, rows: &[i64]) -> Vec<i64> {
        rows.iter().map(|&row| self.labels[row as usize]).collect()
    }

    /// For each row, the index of its sequence in the batch.
    pub(crate) fn sequences_at(&self, rows: &[i64]) -> Vec<usize> {
        rows.iter().map(|&row| self.layout.slots[row as usize] as usize / self.layout.length).collect()
    }

    /// Sums values at some rows by sequence of the batch.
    pub(crate) fn sums_by_sequence(&self, rows: &[i64], values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.layout.sequences];
        for (sequence, value) in self.sequences_at(rows).into_iter().zip(values) {
            sums[sequence] += value;
        }
        sums
    }

    /// The positions of some rows in their sequences, from zero.
    pub(crate) fn positions_at(&self, rows: &[i64]) -> Vec<usize> {
        rows.iter().map(|&row| self.layout.slots[row as usize] as usize % self.layout.length).collect()
    }

    /// The cached losses at some rows, if stored.
    pub(crate) fn losses_at(&self, rows: &[i64]) -> Option<Vec<f32>> {
        let losses = self.losses.as_ref()?;
        Some(rows.iter().map(|&row| losses[row as usize]).collect())
    }

    /// The largest cached logits; empty unless divergences use them.
    pub(crate) fn largest(&self) -> &Largest {
        &self.largest
    }

    /// Reads and verifies the full cached logits, `[rows, vocab]` in their stored dtype, in host memory; `None` unless
    /// divergences use them.
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

    /// Applies an outlier rule to a row; `norms` are those of the SAE's input.
    fn judge(&self, row: i64, norms: &[f64], rule: OutlierRule) -> Verdict {
        rule.judge_row(norms[row as usize], self.excluded[row as usize])
    }

    /// Rows of a section kept by a rule, and the counts of the rows left out, by reason.
    pub(crate) fn kept(&self, section: SectionChoice, norms: &[f64], rule: OutlierRule) -> (Vec<i64>, LeftOut) {
        self.kept_of_any(&[section], norms, rule)
    }

    /// The same of the rows that are in any of several sections.
    pub(crate) fn kept_of_any(
        &self,
        sections: &[SectionChoice],
        norms: &[f64],
        rule: OutlierRule,
    ) -> (Vec<i64>, LeftOut) {
        let (mut kept, mut left) = (Vec::new(), LeftOut::default());
        let is_member = |row: usize| sections.iter().any(|section| section.contains(self.sections[row]));
        for row in self.rows_where(is_member) {
            let verdict = self.judge(row, norms, rule);
            left.count(verdict);
            if verdict == Verdict::Kept {
                kept.push(row);
            }
        }
        (kept, left)
    }

    /// The activations on a device, in their stored dtype.
    pub(crate) fn to_device(&self, device: Device, weights: ModelWeights) -> Result<Activations, TchError> {
        let load = |site: &SiteBits| {
            let bytes = self.rows() * site.width * self.kind.elt_size_in_bytes();
            let bits = &site.bits[site.start..site.start + bytes];
            let shape = [self.rows() as i64, site.width as i64];
            Tensor::f_from_data_size(bits, &shape, self.kind)?.f_to_device(device)
        };
        let mut tensors = self.sites.iter().map(load).collect::<Result<Vec<_>, _>>()?.into_iter();
        let input = tensors.next().unwrap_or_default();
        let in_model = if self.has_target { tensors.next().unwrap_or_default() } else { input.shallow_clone() };
        let (input, target) = (as_given(weights, &input)?, as_given(weights, &in_model)?);
        Ok(Activations { input, target, in_model, beside: tensors.collect() })
    }

    fn rows_where(&self, keep: impl Fn(usize) -> bool) -> Vec<i64> {
        (0..self.rows()).filter(|&row| keep(row)).map(|row| row as i64).collect()
    }
}

/// The activations of a batch on a device, in their stored dtype, unscaled.
#[derive(Debug)]
pub(crate) struct Activations {
    /// The SAE's input, `[rows, width]`.
    pub(crate) input: Tensor,
    /// What reconstructions are compared with, `[rows, width]`: the input, except for transcoders.
    pub(crate) target: Tensor,
    /// What reconstructions replace: the target in the model's stored weights, before centring.
    pub(crate) in_model: Tensor,
    /// Other sites that the forward pass from the target needs, `[rows, width]` each.
    pub(crate) beside: Vec<Tensor>,
}

impl Activations {
    /// The Euclidean norm of each row of the input, in float64 so that finite rows have finite norms.
    pub(crate) fn norms(&self) -> Result<Vec<f64>, TchError> {
        row_norms(&self.input)
    }
}

/// The Euclidean norm of each row `[rows, width]`, in float64.
pub(crate) fn row_norms(rows: &Tensor) -> Result<Vec<f64>, TchError> {
    let squares = rows.f_to_kind(Kind::Double)?.f_square()?;
    Vec::try_from(squares.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Double)?.f_sqrt()?)
}

/// Converts rows as the model has them to the SAE's weights convention.
pub(crate) fn as_given(weights: ModelWeights, rows: &Tensor) -> Result<Tensor, TchError> {
    match weights {
        ModelWeights::AsStored => Ok(rows.shallow_clone()),
        ModelWeights::CentredWriting => centred(rows),
    }
}

/// Selects rows of a tensor, `[n, width]`, in order and without duplicates; does not copy if all are selected.
pub(crate) fn rows_at(tensor: &Tensor, rows: &[i64]) -> Result<Tensor, TchError> {
    if rows.len() as i64 == tensor.size()[0] {
        return Ok(tensor.shallow_clone());
    }
    tensor.f_index_select(0, &Tensor::f_from_slice(rows)?.f_to_device(tensor.device())?)
}

/// Subtracts each row's mean, in the row's dtype: the output of a model with centred writing weights.
fn centred(rows: &Tensor) -> Result<Tensor, TchError> {
    let wide = rows.f_to_kind(Kind::Float)?;
    wide.f_sub(&wide.f_mean_dim([-1i64].as_slice(), true, Kind::Float)?)?.f_to_kind(rows.f_kind()?)
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
