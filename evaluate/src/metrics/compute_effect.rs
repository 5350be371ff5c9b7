//! What computing in a lower precision does to the figures, measured on a sample.

use hayloft_results::{ComputeSample, Sums};
use hayloft_runtime::Dtype;

use crate::baseline::Baselines;
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::pass::{Outcomes, SectionOutcome, pass_over};
use crate::session::context::EvaluationContext;
use crate::session::settings::RunSettings;
use crate::splice::predictions::PredictionReader;
use crate::splice::sae_runner::SaeRunner;

/// The sample is this part of the cache's tokens, rounded up to whole steps of the first row group.
const SAMPLE: u64 = 32;

/// How many rows the sample has at least, if the first row group has as many.
pub(crate) fn sample_rows(context: &EvaluationContext) -> usize {
    context.cache.manifest().held.tokens.div_ceil(SAMPLE) as usize
}

/// The sample of each SAE and section, in the order of results, from what the run made of it. Loads the model and the SAEs a second
/// time, in float32, and lets go of them again.
pub(crate) fn measure<'file>(
    settings: &RunSettings,
    context: &EvaluationContext,
    source: CacheReader<'_>,
    runners: &[SaeRunner<'file>],
    low: &Outcomes,
    baselines: &Baselines,
    precision: Dtype,
) -> Result<Vec<ComputeSample>, EvaluateError> {
    let sections = settings.sections();
    let batches = source.first(sample_rows(context))?;
    let exact_model = context.upper_model(Dtype::F32, settings.device)?;
    let load = |own: &SaeRunner<'file>| {
        let place = (Dtype::F32, settings.device);
        SaeRunner::load(own.file, own.scale, own.rule, &sections, baselines, place)
    };
    let exact_runners: Vec<SaeRunner<'_>> = runners.iter().map(load).collect::<Result<_, _>>()?;
    let exact = pass_over(source, &batches, &exact_runners, &sections, PredictionReader::losses(exact_model.as_ref()))?;
    let total = |outcome: &SectionOutcome| {
        let mut sums = Sums::total(&outcome.shards);
        sums.settle();
        sums
    };
    let pairs = low.iter().flatten().zip(exact.iter().flatten());
    Ok(pairs.map(|(low, exact)| ComputeSample { precision, low: total(low), exact: total(exact) }).collect())
}
