//! Entry points of an evaluation.

use hayloft_model::matrix_product_rate;
use hayloft_results::Results;
use hayloft_runtime::{Dtype, Part, Phase, Profile, Profiling, Progress};

use crate::baseline::summary::PreparedBaselines;
use crate::error::EvaluateError;
use crate::measure;
use crate::parts::{Measurement, PartialResults, assemble};
use crate::session::settings::RunSettings;

/// Evaluates SAEs on a cache.
///
/// The layers below the site are never loaded, the clean losses come from the cache, and quantities that depend on no
/// SAE are computed once and stored next to the cache. Each SAE costs one forward pass through the upper layers.
///
/// ```no_run
/// use hayloft_evaluate::{RunSettings, run};
/// use hayloft_runtime::Progress;
/// # fn main() -> Result<(), hayloft_evaluate::EvaluateError> {
/// let settings = RunSettings {
///     outlier_norm: Some(200.0.into()),
///     ..RunSettings::new("mistral-7b", "cache", vec!["saes/base".into(), "saes/chat".into()])
/// };
/// for result in run(&settings, Progress::Silent)?.results {
///     println!("{}: L0 {:?}, CE recovered {:?}", result.sae, result.columns.l0, result.columns.ce_recovered);
/// }
/// # Ok(()) }
/// ```
pub fn run(settings: &RunSettings, progress: Progress) -> Result<Results, EvaluateError> {
    let (measurement, _) = measure(settings, None, progress, &mut Profiling::begin())?;
    Ok(assemble(measurement))
}

/// Same as `run`, and also returns a profile of the time spent.
pub fn run_profiled(settings: &RunSettings, progress: Progress) -> Result<(Results, Profile), EvaluateError> {
    let (measurement, profile) = measure_profiled(settings, None, progress)?;
    Ok((assemble(measurement), profile))
}

/// Evaluates SAEs on one part of a cache's shards. [`merge`](crate::merge) combines all parts into the results of
/// [`run`], bit for bit.
///
/// x̄ is averaged over the whole cache, so the moments of all shards must be stored beforehand; [`prepare_baselines`]
/// computes those of a part.
pub fn run_part(settings: &RunSettings, part: Part, progress: Progress) -> Result<PartialResults, EvaluateError> {
    let (measurement, _) = measure(settings, Some(part), progress, &mut Profiling::begin())?;
    Ok(PartialResults::new(part, measurement))
}

/// Same as `run_part`, and also returns a profile of the time spent.
pub fn run_part_profiled(
    settings: &RunSettings,
    part: Part,
    progress: Progress,
) -> Result<(PartialResults, Profile), EvaluateError> {
    let (measurement, profile) = measure_profiled(settings, Some(part), progress)?;
    Ok((PartialResults::new(part, measurement), profile))
}

/// Computes and stores the baselines that a run needs and that are missing, for one part's shards or for all of them.
pub fn prepare_baselines(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
) -> Result<PreparedBaselines, EvaluateError> {
    settings.check()?;
    let _no_grad = hayloft_model::no_grad();
    measure::only_baselines(settings, part, progress)
}

/// Measures a part of a cache's shards, or all of them. Also returns the number of tokens processed.
fn measure(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
    profiling: &mut Profiling,
) -> Result<(Measurement, u64), EvaluateError> {
    settings.check()?;
    let _no_grad = hayloft_model::no_grad();
    let (mut measurement, tokens) = measure::measure(settings, part, progress, profiling)?;
    measurement.settle();
    Ok((measurement, tokens))
}

fn measure_profiled(
    settings: &RunSettings,
    part: Option<Part>,
    progress: Progress,
) -> Result<(Measurement, Profile), EvaluateError> {
    let mut profiling = Profiling::begin();
    let (measurement, tokens) = measure(settings, part, progress, &mut profiling)?;
    // Without a model, only SAEs were computed.
    let of_saes = settings.compute.unwrap_or(Dtype::F32);
    let precision = if settings.model.is_some() { measurement.protocol.precision } else { of_saes };
    let rate = |phase| {
        matrix_product_rate(if phase == Phase::Screen { Dtype::Bf16 } else { precision }, settings.device)
            .map_err(EvaluateError::from)
    };
    Ok((measurement, profiling.finish(tokens, rate)?))
}
