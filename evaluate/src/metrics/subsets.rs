//! Sums per subset of the corpus.

use std::collections::BTreeSet;

use hayloft_results::{BySubset, SubsetSums};

use crate::data::batch::Batch;
use crate::splice::outcome::BatchOutcome;

/// Adds the measurements of the next batch to a shard's sums, in row order; `counted` are the rows of its losses.
pub(crate) fn add(shard: &mut BySubset<SubsetSums>, batch: &Batch, measured: &BatchOutcome, counted: &[i64]) {
    let losses = measured.predicted.losses();
    let (kept_rows, counted) = (&measured.rows.kept, if losses.is_empty() { &[][..] } else { counted });
    for ((subset, kept), (_, counted_places)) in batch.subsets.split(kept_rows).zip(batch.subsets.split(counted)) {
        let rows = kept.iter().map(|&place| kept_rows[place]).chain(counted_places.iter().map(|&place| counted[place]));
        let sequences: BTreeSet<usize> = batch.sequences_at(&rows.collect::<Vec<_>>()).into_iter().collect();
        if sequences.is_empty() {
            continue;
        }
        let own = shard.entry(subset);
        own.sequences += sequences.len() as u64;
        for place in kept {
            own.sums.add_activation(&measured.terms[place]);
        }
        for place in counted_places {
            own.sums.loss_tokens += 1;
            own.sums.sae_loss += f64::from(losses[place]);
        }
    }
}
