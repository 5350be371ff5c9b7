//! Quantities that depend on the cache and the model but on no SAE. Computed once and stored next to the cache.
//!
//! There are three kinds, each with sums per shard, in `baselines/` of the cache's folder:
//!
//! - [`Losses`]: the clean and the zero-ablated run, for a site, a section and a precision;
//! - [`AblatedDivergences`]: KL of the zero-ablated from the clean run, if requested; also keyed by the way it is
//!   computed;
//! - [`Moments`]: count and sum of the activations, for a site, a section and a norm threshold.
//!
//! Each file names its manifest and carries a hash of its contents; a file that does not match is recomputed. A part of
//! a run stores a piece with the sums of its shards. Pieces that cover all shards are equivalent to the single file of
//! a run over the whole cache. Moments need no forward pass, so another threshold costs one pass over the cache.

mod ablation;
mod divergences;
mod losses;
mod moments;
mod pass;
mod pending;
mod pieces;
mod seal;
mod shard_sums;
mod store;
pub(crate) mod summary;

pub(crate) use self::moments::Moments;
pub(crate) use self::pass::{Baselines, Wanted, prepare};
pub(crate) use self::store::FOLDER;
