//! What depends on the cache and the model but on no SAE: computed once, and kept beside the cache.
//!
//! Three kinds, each with sums for every shard, in `baselines/` of the cache's folder:
//!
//! - [`Losses`]: of the untouched and of the zero-ablated run, for a site, a section and a precision;
//! - [`AblatedDivergences`]: of the zero-ablated run from the untouched one, where a run asks for them; also for the way in
//!   which they are computed;
//! - [`Moments`]: count and sum of the activations, for a site, a section and a threshold on their norms.
//!
//! Each file names the manifest that it belongs to and carries a hash of its own; one that does not fit is computed
//! again. A part of a run, which has some of the shards, keeps a piece, with the sums of these; pieces of all shards are as good as
//! the one file of a run over the whole cache. Moments need no forward pass, so that another threshold costs one reading of the cache.

mod ablation;
mod divergences;
mod ledger;
mod losses;
mod moments;
mod pass;
mod pieces;
pub(crate) mod prepared;
mod seal;
mod shard_sums;
mod shelf;

pub(crate) use self::moments::Moments;
pub(crate) use self::pass::{Baselines, Wanted, prepare};
pub(crate) use self::shelf::FOLDER;
