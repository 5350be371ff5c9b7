//! Gathers the rows of selected sequences from a cache's shards: activations, logits and predictions.

use crate::error::{Result, StoreError};
use crate::format::activations::reader::ActivationReader;
use crate::format::site::SiteName;
use crate::format::tables::predictions::Predictions;
use crate::maintain::holding::Holding;
use crate::maintain::picking::{Piece, ShardPieces};
use crate::read::cache::Shard;

/// The data to gather: a site's activations, or the full logits.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Site(&'a SiteName),
    Logits,
}

impl Source<'_> {
    fn open(self, shard: &Shard) -> Result<ActivationReader> {
        match self {
            Self::Site(site) => shard.activations(site),
            Self::Logits => shard.logits()?.ok_or_else(|| StoreError::invalid("logits", "all of them kept", "none")),
        }
    }
}

/// Calls `take` with the raw elements of each new row group, in order. Consecutive pieces of one file share a reader,
/// and only blocks with selected rows are read.
pub(super) fn words(
    from: &Holding,
    source: Source<'_>,
    pieces: &ShardPieces,
    mut take: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut opened: Option<(usize, ActivationReader)> = None;
    let mut bits = Vec::new();
    for group in pieces {
        let mut words = Vec::new();
        for Piece { shard, row_group, rows, .. } in joined(group) {
            if opened.as_ref().is_none_or(|(index, _)| *index != shard) {
                let shard_of = from.cache.shard_of(&from.shards[&shard].record)?;
                opened = Some((shard, source.open(&shard_of)?));
            }
            if let Some((_, reader)) = &opened {
                reader.read_rows(row_group, rows, &mut bits)?;
                words.extend_from_slice(&bits);
                reader.release(row_group);
            }
        }
        take(words)?;
    }
    Ok(())
}

/// Merges adjacent pieces.
fn joined(pieces: &[Piece]) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last)
                if (last.shard, last.row_group) == (piece.shard, piece.row_group)
                    && last.rows.end == piece.rows.start =>
            {
                last.rows.end = piece.rows.end;
                last.shard_rows.end = piece.shard_rows.end;
            }
            _ => joined.push(piece.clone()),
        }
    }
    joined
}

/// The predictions of a new shard's rows, if the cache has predictions.
pub(super) fn predictions(from: &Holding, pieces: &ShardPieces) -> Result<Option<Predictions>> {
    let Some(kept) = from.settings.predictions else {
        return Ok(None);
    };
    let top_k = kept.top_k as usize;
    let mut gathered = Predictions { top_k, ..Predictions::default() };
    let mut opened: Option<(usize, Predictions)> = None;
    for piece in pieces.iter().flatten() {
        if opened.as_ref().is_none_or(|(index, _)| *index != piece.shard) {
            let shard = from.cache.shard_of(&from.shards[&piece.shard].record)?;
            opened = shard.predictions()?.map(|predictions| (piece.shard, predictions));
        }
        let Some((_, source)) = &opened else { continue };
        let rows = piece.shard_rows.clone();
        gathered.loss.extend_from_slice(&source.loss[rows.clone()]);
        gathered.logsumexp.extend_from_slice(&source.logsumexp[rows.clone()]);
        gathered.entropy.extend_from_slice(&source.entropy[rows.clone()]);
        let top = rows.start * top_k..rows.end * top_k;
        gathered.top_ids.extend_from_slice(&source.top_ids[top.clone()]);
        gathered.top_logits.extend_from_slice(&source.top_logits[top]);
    }
    Ok(Some(gathered))
}
