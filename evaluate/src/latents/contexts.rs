//! The tokens around examples, from the cache's token tables.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_latents::{Context, Example, Latent};
use hayloft_store::{Cache, Sequence, Tokens};

use crate::error::EvaluateError;

/// Contexts in memory at once, of about 200 bytes each.
const AT_ONCE: usize = 1 << 20;

/// The contexts of some examples, by sequence and position.
pub(super) type Contexts = BTreeMap<(u64, u32), Context>;

/// Splits latents into runs that have about [`AT_ONCE`] examples. The token tables are read once for each run.
pub(super) fn runs(latents: &[Latent]) -> Vec<&[Latent]> {
    let mut runs = Vec::new();
    let (mut first, mut examples) = (0, 0);
    for (latent, own) in latents.iter().enumerate() {
        examples += own.top.len() + own.sampled.len();
        if examples >= AT_ONCE || latent + 1 == latents.len() {
            runs.push(&latents[first..=latent]);
            (first, examples) = (latent + 1, 0);
        }
    }
    runs
}

/// Reads the contexts of all examples of some latents, `window` tokens on either side, from the shards at these indices.
pub(super) fn read(
    cache: &Cache,
    places: &[usize],
    latents: &[Latent],
    window: u32,
) -> Result<Contexts, EvaluateError> {
    let all = latents.iter().flat_map(|own| own.top.iter().chain(&own.sampled));
    let wanted: BTreeSet<(u64, u32)> = all.map(place_of).collect();
    let mut contexts = Contexts::new();
    if wanted.is_empty() {
        return Ok(contexts);
    }
    for &place in places {
        let shard = cache.shard(place)?;
        let mut tokens = None;
        for sequence in shard.sequences() {
            for &(id, position) in wanted.range((sequence.id, 0)..=(sequence.id, u32::MAX)) {
                if tokens.is_none() {
                    tokens = Some(shard.tokens()?);
                }
                if let Some(tokens) = &tokens {
                    contexts.insert((id, position), context(tokens, sequence, position, window));
                }
            }
        }
    }
    if contexts.len() < wanted.len() {
        return Err(EvaluateError::CacheChanged { cache: cache.folder().to_path_buf() });
    }
    Ok(contexts)
}

/// The place of an example in the cache.
pub(super) fn place_of(example: &Example) -> (u64, u32) {
    (example.sequence, example.at.position)
}

fn context(tokens: &Tokens, sequence: &Sequence, position: u32, window: u32) -> Context {
    let row = |position: u32| sequence.first_row as usize + position as usize;
    let first = position.saturating_sub(window);
    let end = position.saturating_add(window).saturating_add(1).min(sequence.length);
    Context {
        document: tokens.document[row(position)],
        section: tokens.section[row(position)].as_str(),
        subset: tokens.subset[row(position)].clone(),
        turn: tokens.turn.get(row(position)).copied(),
        first,
        tokens: tokens.token[row(first)..row(end)].to_vec(),
    }
}
