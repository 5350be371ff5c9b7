//! Effect of a lower compute precision on the metrics, measured on a sample.

use hayloft_results::{ComputeSample, Sums};
use hayloft_runtime::Dtype;

use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::metrics::pass::{Outcomes, SectionOutcome, pass_over};
use crate::session::context::EvaluationContext;
use crate::session::settings::RunSettings;
use crate::splice::predictions::PredictionReader;
use crate::splice::sae_runner::SaeRunner;

/// The sample is one in this many of the cache's tokens, rounded up to whole steps of the first row group.
const SAMPLE: u64 = 32;

/// Minimum number of rows in the sample, if the first row group has as many.
pub(crate) fn sample_rows(context: &EvaluationContext) -> usize {
    context.cache.manifest().held.tokens.div_ceil(SAMPLE) as usize
}

/// Pairs the run's low-precision sums with float32 sums, for each SAE and section in the order of results. Loads the
/// model and the SAEs a second time, in float32, and drops them afterwards.
pub(crate) fn measure(
    settings: &RunSettings,
    context: &EvaluationContext,
    source: CacheReader<'_>,
    runners: &[SaeRunner<'_>],
    reading: PredictionReader<'_>,
    low: &Outcomes,
    precision: Dtype,
) -> Result<Vec<ComputeSample>, EvaluateError> {
    let sections = settings.sections();
    let batches = source.first(sample_rows(context))?;
    let exact_model = context.upper_model(Dtype::F32, settings.device)?;
    let exact_runners = runners.iter().map(|own| own.in_precision(Dtype::F32, settings.device));
    let exact_runners: Vec<SaeRunner<'_>> = exact_runners.collect::<Result<_, _>>()?;
    let reading = PredictionReader { upper_model: exact_model.as_ref(), kl: None, ..reading };
    let exact = pass_over(source, &batches, &exact_runners, &sections, reading)?;
    let total = |outcome: &SectionOutcome| {
        let mut sums = Sums::total(&outcome.shards);
        sums.settle();
        sums
    };
    let pairs = low.iter().flatten().zip(exact.iter().flatten());
    Ok(pairs.map(|(low, exact)| ComputeSample { precision, low: total(low), exact: total(exact) }).collect())
}
