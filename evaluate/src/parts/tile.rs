//! Checks that parts cover every shard once.

use std::ops::Range;
use std::path::Path;

use hayloft_runtime::{Part, words};

use super::error::PartialError;

/// A part among others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'part> {
    /// Its index among all parts.
    pub(crate) place: usize,
    pub(crate) path: &'part Path,
    pub(crate) part: Part,
}

/// Indices of the non-empty parts of an SAE, in the order of their shards. Together they must cover every shard, given by its
/// number, once.
pub(crate) fn tile(own: Vec<Tile<'_>>, all: &[usize], sae: &str) -> Result<Vec<usize>, PartialError> {
    let of = own.first().map_or(1, |tile| tile.part.of());
    let places = |tile: &Tile<'_>| tile.part.range(all.len());
    let numbers = |places: Range<usize>| all.get(places).unwrap_or_default();
    let mut tiles: Vec<Tile<'_>> = own.into_iter().filter(|tile| !places(tile).is_empty()).collect();
    tiles.sort_by_key(|tile| (places(tile).start, places(tile).end));
    let mut reached = 0;
    let mut last: Option<&Tile<'_>> = None;
    let mut missing = Vec::new();
    for tile in &tiles {
        let places = places(tile);
        if let Some(last) = last.filter(|_| places.start < reached) {
            return Err(PartialError::Doubled {
                first: last.path.to_path_buf(),
                second: tile.path.to_path_buf(),
                sae: sae.to_owned(),
                shards: words::list(numbers(places.start..places.end.min(reached))),
            });
        }
        missing.extend(reached..places.start);
        (reached, last) = (places.end, Some(tile));
    }
    missing.extend(reached..all.len());
    let Some(&place) = missing.first() else { return Ok(tiles.into_iter().map(|tile| tile.place).collect()) };
    let parts = (0..of).filter_map(|index| Part::new(index, of));
    let part = parts.into_iter().find(|part| part.range(all.len()).contains(&place));
    Err(PartialError::Missing {
        sae: sae.to_owned(),
        count: all.len(),
        shards: words::list(&missing.iter().filter_map(|&place| all.get(place).copied()).collect::<Vec<_>>()),
        place,
        part: part.map_or_else(String::new, |part| part.to_string()),
    })
}
