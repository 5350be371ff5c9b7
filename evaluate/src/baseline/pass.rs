//! Baselines of a run: reads the stored ones and computes the missing ones in one pass over the cache.

use std::collections::BTreeSet;

use hayloft_results::{CleanSource, ModelWeights};
use hayloft_rows::{OutlierRule, SectionChoice};
use hayloft_runtime::{Phase, Progress, words};

use super::ablation::{Ablation, BatchLosses};
use super::divergences::{AblatedDivergences, AblatedRun, DivergencesKey};
use super::losses::{Losses, LossesKey};
use super::moments::{Moments, MomentsKey};
use super::pending::PendingBaseline;
use super::shard_sums::{Key, ShardSums};
use super::store::BaselineStore;
use crate::data::batch::{Activations, Batch};
use crate::data::reader::CacheReader;
use crate::error::EvaluateError;
use crate::session::context::EvaluationContext;
use crate::session::shard_range::ShardRange;
use crate::session::splice_site::SpliceSite;
use crate::splice::predictions::PredictionReader;

/// Longest label of sites, in bytes, that stands in the name of a file.
const LONGEST_LABEL: usize = 120;

/// The baselines that a run needs.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) sections: Vec<SectionChoice>,
    /// Without duplicates.
    pub(crate) rules: Vec<OutlierRule>,
    pub(crate) clean_source: CleanSource,
    /// The shards whose losses and divergences are needed.
    pub(crate) range: ShardRange,
    /// Whether the run computes baselines only. Then those of other shards may be missing, and a failed write is an
    /// error.
    pub(crate) alone: bool,
}

/// Baselines of a run, in the cache's order.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    /// One entry for each shard of the run's range.
    losses: Vec<(SectionChoice, Vec<Losses>)>,
    /// One entry for each shard of the run's range.
    divergences: Vec<(SectionChoice, Vec<AblatedDivergences>)>,
    /// One entry for each shard of the cache, because x̄ is over all of them.
    moments: Vec<(SectionChoice, OutlierRule, Vec<Moments>)>,
}

impl Baselines {
    /// Losses of a section over the shards of the range.
    pub(crate) fn losses(&self, section: SectionChoice) -> &[Losses] {
        let found = self.losses.iter().find(|(of, _)| *of == section);
        found.map_or(&[], |(_, shards)| shards)
    }

    /// Divergences of a section of the zero-ablated run over the same shards; empty if not requested.
    pub(crate) fn divergences(&self, section: SectionChoice) -> &[AblatedDivergences] {
        let found = self.divergences.iter().find(|(of, _)| *of == section);
        found.map_or(&[], |(_, shards)| shards)
    }

    /// Moments of a section under an outlier rule, over all shards.
    pub(crate) fn moments(&self, section: SectionChoice, rule: OutlierRule) -> &[Moments] {
        let found = self.moments.iter().find(|(of, under, _)| *of == section && *under == rule);
        found.map_or(&[], |(_, _, shards)| shards)
    }
}

/// Reads stored baselines and computes the missing ones of the range's shards.
pub(crate) fn prepare(
    context: &EvaluationContext,
    source: CacheReader<'_>,
    reading: PredictionReader<'_>,
    wanted: &Wanted,
    progress: Progress,
) -> Result<Baselines, EvaluateError> {
    let range = &wanted.range;
    let store = BaselineStore::of(&context.cache, context.baselines.clone());
    let keys = Keys { source, reading, clean_source: wanted.clean_source };
    let mut pending = look(&store, &keys, wanted)?;
    if !wanted.alone {
        pending.refuse_missing_elsewhere(context, &store, range)?;
    }
    let places = pending.missing();
    if !places.is_empty() {
        let shards = &context.cache.manifest().shards;
        let tokens = places.iter().map(|&place| shards[place].counts.tokens).sum();
        let gauge = progress.gauge(pending.doing(), Some(tokens));
        let sections = sections_of(&pending.losses);
        let ablation = match reading.upper_model {
            Some(upper_model) if !sections.is_empty() => {
                Some(Ablation::new(reading, upper_model, sections, wanted.clean_source)?)
            }
            _ => None,
        };
        let sections = sections_of(&pending.divergences);
        let ablated = match reading.upper_model {
            Some(upper_model) if !sections.is_empty() => Some(AblatedRun::new(reading, upper_model, sections)),
            _ => None,
        };
        let moments: Vec<(SectionChoice, OutlierRule)> = pending
            .moments
            .iter()
            .filter(|(_, _, baseline)| !baseline.missing().is_empty())
            .map(|(section, rule, _)| (*section, *rule))
            .collect();
        source.for_each(
            &places,
            &gauge,
            |batch| {
                let activations = source.to_device(batch)?;
                let moments = batch_moments(batch, &activations, &moments)?;
                let losses = ablation.as_ref().map(|ablation| ablation.measure(batch, &activations)).transpose()?;
                let divergences = ablated.as_ref().map(|ablated| ablated.measure(batch, &activations)).transpose()?;
                Ok((moments, losses.unwrap_or_default(), divergences.unwrap_or_default()))
            },
            |batch, (moments, losses, divergences)| {
                pending.add(batch, moments, losses, &divergences);
                Ok(())
            },
        )?;
    }
    match pending.keep(&store, range) {
        Err(error) if wanted.alone => return Err(error),
        Err(error) => tracing::warn!(%error, "a baseline is not kept: the next run computes it again"),
        Ok(()) => {}
    }
    Ok(pending.into_baselines(range))
}

/// Keys of a run's baselines.
struct Keys<'run> {
    source: CacheReader<'run>,
    reading: PredictionReader<'run>,
    clean_source: CleanSource,
}

impl Keys<'_> {
    /// The site that activations are read from.
    fn site(&self) -> String {
        self.in_convention(self.source.point.label())
    }

    /// The sites that are ablated together.
    fn ablated_sites(&self) -> String {
        let sites = std::iter::once(self.source.point).chain(self.reading.further);
        let labels: Vec<String> = sites.map(SpliceSite::label).collect();
        let label = labels.join("+");
        self.in_convention(if label.len() <= LONGEST_LABEL {
            label
        } else {
            format!("{}-sites-{}", labels.len(), &blake3::hash(label.as_bytes()).to_hex()[..32])
        })
    }

    fn in_convention(&self, label: String) -> String {
        match self.source.weights {
            ModelWeights::AsStored => label,
            centred @ ModelWeights::CentredWriting => format!("{label}.{centred}"),
        }
    }

    /// `None` without a model.
    fn losses(&self, section: SectionChoice) -> Option<LossesKey> {
        let precision = self.reading.upper_model?.precision();
        Some(LossesKey { site: self.ablated_sites(), section, precision, clean_source: self.clean_source })
    }

    /// `None` if divergences are not requested.
    fn divergences(&self, section: SectionChoice) -> Option<DivergencesKey> {
        let (precision, method) = (self.reading.upper_model?.precision(), self.reading.kl?);
        Some(DivergencesKey { site: self.ablated_sites(), section, precision, method })
    }

    fn moments(&self, section: SectionChoice, rule: OutlierRule) -> MomentsKey {
        let excluded = self.source.excluded.tokens();
        MomentsKey { site: self.site(), section, largest_norm: rule.threshold(), excluded }
    }
}

/// Reads the stored baselines and adds empty sums for the missing ones.
fn look(store: &BaselineStore, keys: &Keys<'_>, wanted: &Wanted) -> Result<RunBaselines, EvaluateError> {
    let (width, range) = (keys.source.point.target.d_model, &wanted.range);
    let mut pending = RunBaselines::default();
    for &section in &wanted.sections {
        if let Some(key) = keys.losses(section) {
            let empty = |shard| Losses { shard, ..Losses::default() };
            pending.losses.push((section, PendingBaseline::open(store, key, range, |_| true, empty)?));
        }
        if let Some(key) = keys.divergences(section) {
            let empty = |shard| AblatedDivergences { shard, ..AblatedDivergences::default() };
            pending.divergences.push((section, PendingBaseline::open(store, key, range, |_| true, empty)?));
        }
        for &rule in &wanted.rules {
            let fits = |kept: &Moments| kept.sum.len() == width;
            let key = keys.moments(section, rule);
            let baseline = PendingBaseline::open(store, key, range, fits, |shard| Moments::new(shard, width))?;
            pending.moments.push((section, rule, baseline));
        }
    }
    Ok(pending)
}

/// The sections with missing sums.
fn sections_of<K: Key, S: ShardSums>(pending: &[(SectionChoice, PendingBaseline<K, S>)]) -> Vec<SectionChoice> {
    let missing = pending.iter().filter(|(_, baseline)| !baseline.missing().is_empty());
    missing.map(|(section, _)| *section).collect()
}

/// The baselines of a run while they are computed.
#[derive(Default)]
struct RunBaselines {
    losses: Vec<(SectionChoice, PendingBaseline<LossesKey, Losses>)>,
    divergences: Vec<(SectionChoice, PendingBaseline<DivergencesKey, AblatedDivergences>)>,
    moments: Vec<(SectionChoice, OutlierRule, PendingBaseline<MomentsKey, Moments>)>,
}

impl RunBaselines {
    /// Indices of the shards with anything missing, in order.
    fn missing(&self) -> Vec<usize> {
        let losses = self.losses.iter().flat_map(|(_, baseline)| baseline.missing());
        let divergences = self.divergences.iter().flat_map(|(_, baseline)| baseline.missing());
        let moments = self.moments.iter().flat_map(|(_, _, baseline)| baseline.missing());
        let places: BTreeSet<usize> = losses.chain(divergences).chain(moments).copied().collect();
        places.into_iter().collect()
    }

    /// Returns an error if moments of shards outside the range are missing.
    fn refuse_missing_elsewhere(
        &self,
        context: &EvaluationContext,
        store: &BaselineStore,
        range: &ShardRange,
    ) -> Result<(), EvaluateError> {
        let missing: BTreeSet<usize> =
            self.moments.iter().flat_map(|(_, _, baseline)| baseline.missing_elsewhere(store)).collect();
        match range.part {
            Some(part) if !missing.is_empty() && !range.places.is_empty() => Err(EvaluateError::MissingBaselines {
                folder: context.baselines.clone(),
                part,
                shards: words::list(&missing.into_iter().collect::<Vec<_>>()),
            }),
            _ => Ok(()),
        }
    }

    /// Label of the progress bar.
    fn doing(&self) -> &'static str {
        let only_moments = sections_of(&self.losses).is_empty() && sections_of(&self.divergences).is_empty();
        if only_moments { "mean activation" } else { "zero ablation" }
    }

    /// Adds the measurements of the next batch, in the order of these lists.
    fn add(&mut self, batch: &Batch, moments: Vec<Moments>, losses: Vec<BatchLosses>, divergences: &[Vec<f64>]) {
        let computed = self.moments.iter_mut().filter(|(_, _, baseline)| !baseline.missing().is_empty());
        for ((_, _, baseline), measured) in computed.zip(moments) {
            if let Some(sums) = baseline.computing(batch.place) {
                sums.merge(&measured);
            }
        }
        let computed = self.losses.iter_mut().filter(|(_, baseline)| !baseline.missing().is_empty());
        for ((section, baseline), BatchLosses { clean, zero }) in computed.zip(losses) {
            if let Some(sums) = baseline.computing(batch.place) {
                sums.add(batch, &batch.counted(*section), &clean, &zero);
            }
        }
        let computed = self.divergences.iter_mut().filter(|(_, baseline)| !baseline.missing().is_empty());
        for ((section, baseline), kl) in computed.zip(divergences) {
            if let Some(sums) = baseline.computing(batch.place) {
                sums.add(batch, &batch.counted(*section), kl);
            }
        }
    }

    /// Stores every computed baseline that can be written; returns the first error.
    fn keep(&self, store: &BaselineStore, range: &ShardRange) -> Result<(), EvaluateError> {
        let losses = self.losses.iter().map(|(_, baseline)| baseline.keep(store, range));
        let divergences = self.divergences.iter().map(|(_, baseline)| baseline.keep(store, range));
        let moments = self.moments.iter().map(|(_, _, baseline)| baseline.keep(store, range));
        let all: Vec<Result<(), EvaluateError>> = losses.chain(divergences).chain(moments).collect();
        all.into_iter().collect()
    }

    fn into_baselines(self, range: &ShardRange) -> Baselines {
        let losses = self.losses.into_iter().map(|(section, baseline)| (section, baseline.own(range)));
        let divergences = self.divergences.into_iter().map(|(section, baseline)| (section, baseline.own(range)));
        let moments = self.moments.into_iter().map(|(section, rule, baseline)| (section, rule, baseline.into_all()));
        Baselines { losses: losses.collect(), divergences: divergences.collect(), moments: moments.collect() }
    }
}

fn batch_moments(
    batch: &Batch,
    activations: &Activations,
    wanted: &[(SectionChoice, OutlierRule)],
) -> Result<Vec<Moments>, EvaluateError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let _phase = Phase::Splice.begin(0);
    let norms = activations.norms()?;
    let mut all = Vec::with_capacity(wanted.len());
    for (section, rule) in wanted {
        let mut moments = Moments::new(batch.shard, activations.target.size()[1] as usize);
        moments.add(batch, activations, &norms, *section, *rule)?;
        all.push(moments);
    }
    Ok(all)
}
