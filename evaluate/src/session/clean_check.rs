//! Checks before the first metric that the forward pass from the cached activations reproduces the cached losses.

use hayloft_results::CleanCheck;
use hayloft_rows::SectionChoice;
use hayloft_runtime::Dtype;

use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::session::context::EvaluationContext;
use crate::splice::upper_model::UpperModel;

/// Number of rows checked, from the first sequences. A wrong model, site or precision is off at every row.
const CHECKED_ROWS: usize = 256;

/// Largest difference allowed at one token, in nats. On the harvest's machine and in its precision the difference is
/// about zero. Other kernels round differently: a logit of size 20 to 30 has steps of 2e-6 in f32, 0.016 in f16 and
/// 0.125 in bf16. A wrong residual stream is off by nats.
fn tolerance(precision: Dtype) -> f64 {
    match precision {
        Dtype::F32 => 1e-3,
        Dtype::F16 => 0.1,
        Dtype::Bf16 => 0.75,
    }
}

/// Tolerance in nats if the cache's codec is lossy: the error at about one token in hundreds.
const ROUNDED_TOLERANCE: f64 = 2.0;

/// Recomputes the losses of the first sequences of the shard at index `place`, the first one that a run reads, and
/// returns an error if the cached losses differ. `None` if the cache stores no losses.
pub(crate) fn clean_check(
    context: &EvaluationContext,
    source: CacheReader<'_>,
    place: usize,
    upper_model: &UpperModel,
) -> Result<Option<CleanCheck>, EvaluateError> {
    let Some(batch) = source.few(place, CHECKED_ROWS)? else { return Ok(None) };
    let rows = batch.counted(SectionChoice::All);
    let Some(cached) = batch.losses_at(&rows) else { return Ok(None) };
    let activations = source.to_device(&batch)?;
    let computed = upper_model.losses(&batch, &upper_model.clean(&activations)?, &rows)?;
    let max_difference = largest_difference(&cached, &computed);
    let rounded = if context.point.input.rounding.is_some() { ROUNDED_TOLERANCE } else { 0.0 };
    let tolerance = tolerance(context.precision).max(tolerance(context.cache_precision)).max(rounded);
    let tokens = rows.len();
    if max_difference <= tolerance {
        return Ok(Some(CleanCheck { tokens, max_difference, tolerance }));
    }
    let cache = context.cache.folder().to_path_buf();
    Err(EvaluateError::CleanCheck { cache, tokens, difference: max_difference, tolerance })
}

/// Two losses that are both NaN, as after a NaN activation, do not differ; NaN and a number differ infinitely.
fn largest_difference(cached: &[f32], computed: &[f32]) -> f64 {
    let differences =
        cached.iter().zip(computed).map(|(&cached, &computed)| match (cached.is_nan(), computed.is_nan()) {
            (true, true) => 0.0,
            (false, false) => (f64::from(cached) - f64::from(computed)).abs(),
            _ => f64::INFINITY,
        });
    differences.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_like_nan_and_unlike_any_number() {
        let nan = f32::NAN;
        assert!((largest_difference(&[1.0, nan, 3.0], &[1.5, nan, 3.0]) - 0.5).abs() < f64::EPSILON);
        assert!(largest_difference(&[nan], &[1.0]).is_infinite());
        assert!(largest_difference(&[1.0], &[nan]).is_infinite());
        assert!(largest_difference(&[], &[]).abs() < f64::EPSILON);
    }
}
