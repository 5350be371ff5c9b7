//! What computing in a lower precision does to the figures, measured on a sample.

use hayloft_model::Precision;
use serde::{Deserialize, Serialize};

use crate::EvaluateError;
use crate::baseline::Baselines;
use crate::candidate::Candidate;
use crate::columns::Columns;
use crate::pass::{Outcomes, SectionOutcome, pass_over};
use crate::reading::Reading;
use crate::settings::RunSettings;
use crate::source::Source;
use crate::subject::Subject;
use crate::sums::Sums;

/// The sample is this part of the cache's tokens, rounded up to whole steps of the first row group.
const SAMPLE: u64 = 32;

/// A figure computed in lower precision less the same computed in float32, on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeEffect {
    /// What the run computed in.
    pub precision: Precision,
    /// Rows of the sample that the figures on activations are over.
    pub activation_rows: u64,
    /// Of the mean count of latents above zero.
    pub l0: Option<f64>,
    /// Of the share of the loss recovered, with the baselines of the whole cache.
    pub ce_recovered: Option<f64>,
    /// Of the loss with reconstructions put back, nats.
    pub ce_sae: Option<f64>,
    /// Of the explained variance.
    pub explained_variance: Option<f64>,
    /// Of the pooled explained variance.
    pub explained_variance_pooled: Option<f64>,
    /// Of the squared error, in scaled space.
    pub mse: Option<f64>,
}

/// How many rows the sample has at least, if the first row group has as many.
pub(crate) fn sample_rows(subject: &Subject) -> usize {
    subject.cache.manifest().held.tokens.div_ceil(SAMPLE) as usize
}

/// Sums over the sample, from which the effect follows once the baselines of the whole cache are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    /// What the run computed in.
    pub(crate) precision: Precision,
    /// What came of that.
    pub(crate) low: Sums,
    /// The same, computed in float32.
    pub(crate) exact: Sums,
}

/// The sample of each SAE and section, in the order of results, from what the run made of it. Loads the model and the SAEs a second
/// time, in float32, and lets go of them again.
pub(crate) fn measure<'file>(
    settings: &RunSettings,
    subject: &Subject,
    source: Source<'_>,
    candidates: &[Candidate<'file>],
    low: &Outcomes,
    baselines: &Baselines,
    precision: Precision,
) -> Result<Vec<Sample>, EvaluateError> {
    let sections = settings.sections();
    let batches = source.first(sample_rows(subject))?;
    let exact_half = subject.upper_half(Precision::F32, settings.device)?;
    let load = |own: &Candidate<'file>| {
        let place = (Precision::F32, settings.device);
        Candidate::load(own.file, own.scale, own.rule, &sections, baselines, place)
    };
    let exact_candidates: Vec<Candidate<'_>> = candidates.iter().map(load).collect::<Result<_, _>>()?;
    let exact = pass_over(source, &batches, &exact_candidates, &sections, Reading::losses(exact_half.as_ref()))?;
    let total = |outcome: &SectionOutcome| {
        let mut sums = Sums::total(&outcome.shards);
        sums.settle();
        sums
    };
    let pairs = low.iter().flatten().zip(exact.iter().flatten());
    Ok(pairs.map(|(low, exact)| Sample { precision, low: total(low), exact: total(exact) }).collect())
}

impl ComputeEffect {
    /// What a sample says, of an SAE in a section of which these are the sums over each of the cache's shards.
    pub(crate) fn of(sample: &Sample, scale: f64, shards: &[Sums]) -> Self {
        let gap = loss_gap(shards);
        let (low, exact) = (Columns::of(&sample.low, scale), Columns::of(&sample.exact, scale));
        let less = |figure: fn(&Columns) -> Option<f64>| Some(figure(&low)? - figure(&exact)?);
        let ce_sae = less(|columns| columns.ce_sae);
        Self {
            precision: sample.precision,
            activation_rows: exact.activation_rows,
            l0: less(|columns| columns.l0),
            ce_recovered: ce_sae.map(|difference| -difference / gap).filter(|difference| difference.is_finite()),
            ce_sae,
            explained_variance: less(|columns| columns.explained_variance),
            explained_variance_pooled: less(|columns| columns.explained_variance_pooled),
            mse: less(|columns| columns.mse),
        }
    }
}

/// Zero less clean, of the mean losses over the whole cache.
fn loss_gap(shards: &[Sums]) -> f64 {
    let tokens: u64 = shards.iter().map(|shard| shard.loss_tokens).sum();
    shards.iter().map(|shard| shard.zero_loss - shard.clean_loss).sum::<f64>() / tokens as f64
}
