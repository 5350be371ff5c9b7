//! The median norm that defines outliers.

use hayloft_results::ModelWeights;
use hayloft_rows::{MedianRule, OutlierRule, Rows, SectionChoice, at_rank, lower_middle, median_norm};
use hayloft_runtime::Progress;

use crate::data::reader::CacheReader;
use crate::error::EvaluateError;

/// Computes the rule from the median norm over all rows of the cache without excluded tokens. Norms come from the
/// cache's tables; for centred activations they are recomputed, which reads all activations twice.
pub(crate) fn median_rule(
    multiple: f64,
    source: CacheReader<'_>,
    progress: Progress,
) -> Result<MedianRule, EvaluateError> {
    let CacheReader { cache, point, excluded, weights, .. } = source;
    let median = match weights {
        ModelWeights::AsStored => median_norm(cache, &point.input.name, &Rows::of_any_section(excluded.clone()))?,
        ModelWeights::CentredWriting => {
            let found = at_rank(lower_middle, |look| for_each_norm(source, progress, look))?;
            found.map(|(median, _)| f64::from(median))
        }
    };
    Ok(MedianRule::of(multiple, median)?)
}

/// Passes on the norms of all activations of the cache that are finite and whose tokens are not excluded.
fn for_each_norm(
    source: CacheReader<'_>,
    progress: Progress,
    look: &mut dyn FnMut(&[f32]),
) -> Result<(), EvaluateError> {
    let gauge = progress.gauge("median norm", Some(source.cache.manifest().held.tokens));
    let places: Vec<usize> = (0..source.cache.shards()).collect();
    source.for_each(
        &places,
        &gauge,
        |batch| {
            let norms = source.to_device(batch)?.norms()?;
            let (kept, _) = batch.kept(SectionChoice::All, &norms, OutlierRule::above(None));
            Ok(kept.into_iter().map(|row| norms[row as usize] as f32).collect::<Vec<f32>>())
        },
        |_, norms| {
            look(&norms);
            Ok(())
        },
    )
}
