//! Picks sequences and packs them into the shards of a new plan.

use std::ops::Range;

use crate::error::Result;
use crate::format::plan::PlanWriter;
use crate::format::section::Section;
use crate::format::tables::sequences::{Sequence, row_group_rows};
use crate::format::tables::tokens::Tokens;
use crate::maintain::holding::Holding;
use crate::maintain::number_range::NumberRange;

/// The wanted sequences. An empty field does not restrict them.
pub(super) struct Wanted<'a> {
    pub(super) sections: &'a [Section],
    pub(super) subsets: &'a [String],
    pub(super) sequences: NumberRange,
}

impl Wanted<'_> {
    /// Whether a sequence, whose tokens are at `rows`, is wanted: whether one token is both in one of the sections and
    /// in one of the subsets.
    fn has(&self, sequence: &Sequence, tokens: &Tokens, rows: Range<usize>) -> bool {
        let in_section = |row: usize| self.sections.is_empty() || self.sections.contains(&tokens.section[row]);
        let in_subset = |row: usize| {
            let subset = tokens.subset[row].as_deref();
            self.subsets.is_empty() || subset.is_some_and(|subset| self.subsets.iter().any(|name| name == subset))
        };
        self.sequences.contains(sequence.id) && rows.into_iter().any(|row| in_section(row) && in_subset(row))
    }
}

/// The rows of one selected sequence, within a row group of its source shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The shard's index in the source plan.
    pub(super) shard: usize,
    pub(super) row_group: usize,
    /// Within the row group.
    pub(super) rows: Range<usize>,
    /// Within the shard.
    pub(super) shard_rows: Range<usize>,
}

/// The pieces of each row group of a new shard.
pub(super) type ShardPieces = Vec<Vec<Piece>>;

/// Writes the plan of the wanted sequences in `shards`, in stored order. Row groups and shards are filled as in a
/// harvest's plan.
///
/// Returns the pieces that make up each new shard.
pub(super) fn write_plan(
    plan: &mut PlanWriter,
    from: &Holding,
    shards: &[usize],
    wanted: &Wanted<'_>,
) -> Result<Vec<ShardPieces>> {
    let corpus = &from.plan.plan().corpus;
    let mut filling = Filling::default();
    let mut all = Vec::new();
    for shard in shards {
        let opened = from.cache.shard_of(&from.shards[shard].record)?;
        let tokens = opened.tokens()?;
        let group_rows = row_group_rows(opened.sequences());
        let first_rows: Vec<u64> = group_rows
            .iter()
            .scan(0, |next, rows| {
                *next += rows;
                Some(*next - rows)
            })
            .collect();
        for sequence in opened.sequences() {
            let first = sequence.first_row as usize;
            let shard_rows = first..first + sequence.length as usize;
            if !wanted.has(sequence, &tokens, shard_rows.clone()) {
                continue;
            }
            if !filling.sequences.is_empty()
                && filling.tokens.len() as u64 + u64::from(sequence.length) > corpus.shard_tokens
            {
                all.push(filling.take(plan)?);
            }
            let row_group = sequence.row_group as usize;
            let start = first - first_rows[row_group] as usize;
            let rows = start..start + sequence.length as usize;
            let piece = Piece { shard: *shard, row_group, rows, shard_rows };
            filling.push(sequence, &tokens, piece, u64::from(corpus.row_group_rows));
        }
    }
    if !filling.sequences.is_empty() {
        all.push(filling.take(plan)?);
    }
    Ok(all)
}

/// A new shard being filled.
#[derive(Default)]
struct Filling {
    sequences: Vec<Sequence>,
    tokens: Tokens,
    pieces: ShardPieces,
    group_rows: u64,
}

impl Filling {
    fn push(&mut self, sequence: &Sequence, from: &Tokens, piece: Piece, row_group_rows: u64) {
        let length = u64::from(sequence.length);
        if self.pieces.is_empty() || self.group_rows + length > row_group_rows {
            self.pieces.push(Vec::new());
            self.group_rows = 0;
        }
        self.group_rows += length;
        let row_group = self.pieces.len() - 1;
        self.sequences.push(Sequence {
            first_row: self.tokens.len() as u64,
            row_group: row_group as u32,
            ..sequence.clone()
        });
        let rows = piece.shard_rows.clone();
        self.tokens.sequence.extend_from_slice(&from.sequence[rows.clone()]);
        self.tokens.position.extend_from_slice(&from.position[rows.clone()]);
        self.tokens.token.extend_from_slice(&from.token[rows.clone()]);
        self.tokens.section.extend_from_slice(&from.section[rows.clone()]);
        self.tokens.document.extend_from_slice(&from.document[rows.clone()]);
        self.tokens.subset.extend_from_slice(&from.subset[rows.clone()]);
        self.tokens.turn.extend_from_slice(from.turn.get(rows).unwrap_or_default());
        self.pieces[row_group].push(piece);
    }

    fn take(&mut self, plan: &mut PlanWriter) -> Result<ShardPieces> {
        let Self { sequences, tokens, pieces, .. } = std::mem::take(self);
        plan.add_shard(&sequences, &tokens)?;
        Ok(pieces)
    }
}
