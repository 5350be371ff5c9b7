//! What results have beside their figures, from sums over each sequence.

use crate::EvaluateError;
use crate::bootstrap::{Uncertain, uncertainty};
use crate::results::SaeResult;
use crate::settings::RunSettings;
use crate::subject::Subject;
use crate::subsets::{by_subset, subsets_of};
use crate::tally::SequenceTally;

/// Adds the intervals and the subsets that are wanted; `sequences` are those of each result, or none where nothing is wanted.
pub(crate) fn add(
    results: &mut [SaeResult],
    sequences: &[Vec<SequenceTally>],
    settings: &RunSettings,
    subject: &Subject,
) -> Result<(), EvaluateError> {
    if settings.by_subset {
        let subsets = subsets_of(&subject.cache)?;
        for (result, sequences) in results.iter_mut().zip(sequences) {
            result.subsets = by_subset(&subsets, sequences, result.target_scale());
        }
    }
    let Some(bootstrap) = settings.bootstrap else { return Ok(()) };
    for section in settings.sections() {
        let own: Vec<usize> = (0..results.len()).filter(|&place| results[place].section == section).collect();
        let uncertain = |&place: &usize| Uncertain {
            name: &results[place].sae,
            sequences: &sequences[place],
            scale: results[place].scale,
            target_scale: results[place].target_scale(),
            has_kl: results[place].kl.is_some(),
        };
        let intervals = uncertainty(bootstrap, &own.iter().map(uncertain).collect::<Vec<_>>());
        for (place, intervals) in own.into_iter().zip(intervals) {
            results[place].intervals = Some(intervals);
        }
    }
    Ok(())
}
