//! Groups sequences into shards and row groups.

use std::sync::Arc;

use crate::format::section::Section;
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;

/// The source of a run of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The document's index among all documents.
    pub document: u64,
    /// The document's subset.
    pub subset: Option<Arc<str>>,
}

/// A run of tokens from one document within a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The document.
    pub source: Source,
    /// Number of tokens.
    pub length: u32,
}

/// A packed sequence: one row of the model's input batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedSequence {
    /// The tokens; the first is BOS, unless there is none.
    pub tokens: Vec<u32>,
    /// The section of each token.
    pub sections: Vec<Section>,
    /// The turn of each token, from 0; empty for documents and for conversations of one turn.
    pub turns: Vec<u32>,
    /// The source of the tokens, in order. A BOS added by the packing belongs to the document after it.
    pub spans: Vec<Span>,
}

/// Grouping settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// Target number of tokens in a shard; a single longer sequence has its own shard.
    pub shard_tokens: u64,
    /// Target number of rows in a row group; a single longer sequence has its own row group.
    pub row_group_rows: u32,
}

/// A planned shard.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedShard {
    /// Its sequences in storage order: longest first.
    pub sequences: Vec<Sequence>,
    /// Its tokens, in storage order.
    pub tokens: Tokens,
    /// Cells `[batch, pos]` of its batches, including padding.
    pub cells: u64,
}

/// Groups sequences into shards, in document order.
///
/// Within a shard, sequences are sorted by length, longest first, and cut into row groups of whole sequences. The sort
/// is stable. A row group is the batch of the forward pass, and similar lengths need little padding.
#[derive(Debug)]
pub struct ShardBuilder {
    grouping: Grouping,
    /// The sequences of the shard being filled, with their ids.
    filling: Vec<(u64, PackedSequence)>,
    filling_tokens: u64,
    next_id: u64,
}

impl ShardBuilder {
    /// Creates a builder without sequences.
    pub fn new(grouping: Grouping) -> Self {
        Self { grouping, filling: Vec::new(), filling_tokens: 0, next_id: 0 }
    }

    /// Adds a sequence. Returns the previous shard if the sequence does not fit into it.
    pub fn push(&mut self, sequence: PackedSequence) -> Option<PlannedShard> {
        let tokens = sequence.tokens.len() as u64;
        let finished = if self.filling_tokens + tokens > self.grouping.shard_tokens { self.take() } else { None };
        self.filling.push((self.next_id, sequence));
        self.filling_tokens += tokens;
        self.next_id += 1;
        finished
    }

    /// Returns the shard being filled, if it has sequences.
    pub fn finish(&mut self) -> Option<PlannedShard> {
        self.take()
    }

    fn take(&mut self) -> Option<PlannedShard> {
        self.filling_tokens = 0;
        let sequences = std::mem::take(&mut self.filling);
        (!sequences.is_empty()).then(|| group(sequences, self.grouping))
    }
}

fn group(mut packed: Vec<(u64, PackedSequence)>, grouping: Grouping) -> PlannedShard {
    // Stable, so the order depends only on the lengths.
    packed.sort_by_key(|(_, sequence)| std::cmp::Reverse(sequence.tokens.len()));
    let mut sequences = Vec::with_capacity(packed.len());
    let mut tokens = Tokens::default();
    let mut cells = 0;
    let mut first_row = 0;
    let mut row_group = 0;
    let mut group_rows = 0;
    // The first sequence of a row group is the longest, and the others are padded to its length.
    let mut group_width = 0;
    for (id, sequence) in &packed {
        let length = sequence.tokens.len() as u32;
        if group_rows > 0 && group_rows + u64::from(length) > u64::from(grouping.row_group_rows) {
            row_group += 1;
            group_rows = 0;
        }
        if group_rows == 0 {
            group_width = u64::from(length);
        }
        cells += group_width;
        let source = sequence.spans.first().map(|span| &span.source);
        sequences.push(Sequence {
            id: *id,
            document: source.map_or(0, |source| source.document),
            subset: source.and_then(|source| source.subset.as_deref().map(str::to_owned)),
            first_row,
            length,
            row_group,
        });
        push_rows(&mut tokens, *id, sequence);
        first_row += u64::from(length);
        group_rows += u64::from(length);
    }
    PlannedShard { sequences, tokens, cells }
}

fn push_rows(tokens: &mut Tokens, id: u64, sequence: &PackedSequence) {
    let length = sequence.tokens.len();
    tokens.sequence.extend(std::iter::repeat_n(id, length));
    tokens.position.extend(0..length as u32);
    tokens.token.extend_from_slice(&sequence.tokens);
    tokens.section.extend_from_slice(&sequence.sections);
    tokens.turn.extend_from_slice(&sequence.turns);
    for span in &sequence.spans {
        tokens.document.extend(std::iter::repeat_n(span.source.document, span.length as usize));
        tokens.subset.extend(std::iter::repeat_n(span.source.subset.clone(), span.length as usize));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOS: u32 = 1;

    fn sequence(document: u64, length: usize) -> PackedSequence {
        let subset: Arc<str> = if document.is_multiple_of(2) { "even".into() } else { "odd".into() };
        let mut tokens = vec![BOS];
        tokens.extend((1..length).map(|position| 10 + position as u32));
        let source = Source { document, subset: Some(subset) };
        let mut sections = vec![Section::Text; length];
        sections[0] = Section::Bos;
        PackedSequence { tokens, sections, turns: Vec::new(), spans: vec![Span { source, length: length as u32 }] }
    }

    fn shards(lengths: &[usize], shard_tokens: u64, row_group_rows: u32) -> Vec<PlannedShard> {
        let mut builder = ShardBuilder::new(Grouping { shard_tokens, row_group_rows });
        let mut all = Vec::new();
        for (document, length) in lengths.iter().enumerate() {
            all.extend(builder.push(sequence(document as u64, *length)));
        }
        all.extend(builder.finish());
        all
    }

    #[test]
    fn shards_keep_document_order_and_sort_within() {
        let shards = shards(&[3, 5, 3, 4, 9, 2], 12, 8);
        let layout: Vec<Vec<(u64, u64, u32, u32)>> = shards
            .iter()
            .map(|shard| shard.sequences.iter().map(|one| (one.id, one.first_row, one.length, one.row_group)).collect())
            .collect();
        assert_eq!(
            layout,
            [vec![(1, 0, 5, 0), (0, 5, 3, 0), (2, 8, 3, 1)], vec![(3, 0, 4, 0)], vec![(4, 0, 9, 0), (5, 9, 2, 1)],]
        );
        assert_eq!(shards.iter().map(|shard| shard.cells).collect::<Vec<_>>(), [5 + 5 + 3, 4, 9 + 2]);
    }

    #[test]
    fn rows_have_the_section_and_subset_of_their_token() {
        let shard = &shards(&[2, 3], 100, 100)[0];
        assert_eq!(shard.tokens.sequence, [1, 1, 1, 0, 0]);
        assert_eq!(shard.tokens.position, [0, 1, 2, 0, 1]);
        assert_eq!(shard.tokens.token, [1, 11, 12, 1, 11]);
        assert_eq!(shard.tokens.document, [1, 1, 1, 0, 0]);
        let subsets: Vec<_> = shard.tokens.subset.iter().map(|subset| subset.as_deref().unwrap()).collect();
        assert_eq!(subsets, ["odd", "odd", "odd", "even", "even"]);
        let (bos, text) = (Section::Bos, Section::Text);
        assert_eq!(shard.tokens.section, [bos, text, text, bos, text]);
    }

    #[test]
    fn no_sequences_give_no_shard() {
        assert!(shards(&[], 10, 10).is_empty());
    }

    proptest! {
        #[test]
        fn every_sequence_is_in_one_row_group_of_one_shard(
            lengths in prop::collection::vec(2..40_usize, 0..60),
            shard_tokens in 1..200_u64,
            row_group_rows in 1..100_u32,
        ) {
            let shards = shards(&lengths, shard_tokens, row_group_rows);
            let mut next_id = 0;
            for shard in &shards {
                let mut ids: Vec<u64> = shard.sequences.iter().map(|sequence| sequence.id).collect();
                ids.sort_unstable();
                prop_assert_eq!(&ids, &(next_id..next_id + ids.len() as u64).collect::<Vec<_>>());
                next_id += ids.len() as u64;
                prop_assert!(shard.tokens.len() as u64 <= shard_tokens || ids.len() == 1);
                prop_assert!(shard.sequences.is_sorted_by(|one, other| one.length >= other.length));
                let groups = shard.sequences.chunk_by(|one, other| one.row_group == other.row_group);
                let mut cells = 0;
                for (index, group) in groups.enumerate() {
                    prop_assert_eq!(group[0].row_group as usize, index);
                    let rows: u32 = group.iter().map(|sequence| sequence.length).sum();
                    prop_assert!(rows <= row_group_rows || group.len() == 1);
                    cells += u64::from(group[0].length) * group.len() as u64;
                }
                prop_assert_eq!(cells, shard.cells);
                let rows: u32 = shard.sequences.iter().map(|sequence| sequence.length).sum();
                prop_assert_eq!(shard.tokens.len(), rows as usize);
                prop_assert_eq!(shard.tokens.document.len(), shard.tokens.token.len());
                prop_assert_eq!(shard.tokens.subset.len(), shard.tokens.token.len());
            }
            prop_assert_eq!(next_id, lengths.len() as u64);
        }
    }
}
