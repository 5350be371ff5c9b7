//! The intervals of results, from sums over each sequence.

use crate::bootstrap::{Bootstrap, Uncertain, uncertainty};
use crate::partial::Protocol;
use crate::results::SaeResult;
use crate::tally::SequenceTally;

/// Adds the intervals, if they are wanted; `sequences` are those of each result, or none where nothing is wanted.
pub(crate) fn add(results: &mut [SaeResult], sequences: &[Vec<SequenceTally>], protocol: &Protocol) {
    let Some(resamples) = protocol.bootstrap else { return };
    for &section in &protocol.sections {
        let own: Vec<usize> = (0..results.len()).filter(|&place| results[place].section == section).collect();
        let uncertain = |&place: &usize| Uncertain {
            name: &results[place].sae,
            sequences: &sequences[place],
            scale: results[place].scale,
            target_scale: results[place].target_scale(),
            has_kl: results[place].kl.is_some(),
        };
        let intervals = uncertainty(Bootstrap { resamples }, &own.iter().map(uncertain).collect::<Vec<_>>());
        for (place, intervals) in own.into_iter().zip(intervals) {
            results[place].intervals = Some(intervals);
        }
    }
}
