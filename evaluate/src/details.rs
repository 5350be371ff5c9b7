//! What results have beside their figures, from sums over each sequence.

use crate::EvaluateError;
use crate::bootstrap::{Uncertain, uncertainty};
use crate::results::SaeResult;
use crate::settings::RunSettings;
use crate::subject::Subject;
use crate::subsets::{by_subset, subsets_of};
use crate::tally::SequenceTally;

/// What is kept of a result until all are there.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What its targets and reconstructions are multiplied by.
    pub(crate) target_scale: f64,
    /// One for each sequence of the cache.
    pub(crate) sequences: Vec<SequenceTally>,
}

/// Adds the intervals and the subsets that are wanted; `kept` has one for each result, or none where nothing is wanted.
pub(crate) fn add(
    results: &mut [SaeResult],
    kept: &[Kept],
    settings: &RunSettings,
    subject: &Subject,
) -> Result<(), EvaluateError> {
    if settings.by_subset {
        let subsets = subsets_of(&subject.cache)?;
        for (result, kept) in results.iter_mut().zip(kept) {
            result.subsets = by_subset(&subsets, &kept.sequences, kept.target_scale);
        }
    }
    let Some(bootstrap) = settings.bootstrap else { return Ok(()) };
    for section in settings.sections() {
        let own: Vec<usize> = (0..results.len()).filter(|&place| results[place].section == section).collect();
        let uncertain = |&place: &usize| Uncertain {
            name: &results[place].sae,
            sequences: &kept[place].sequences,
            scale: results[place].scale,
            target_scale: kept[place].target_scale,
            has_kl: results[place].kl.is_some(),
        };
        let intervals = uncertainty(bootstrap, &own.iter().map(uncertain).collect::<Vec<_>>());
        for (place, intervals) in own.into_iter().zip(intervals) {
            results[place].intervals = Some(intervals);
        }
    }
    Ok(())
}
