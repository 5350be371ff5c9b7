//! Baselines for a run: those kept beside the cache, and one pass over it for those that are missing.

use hayloft_terminal::{Phase, Progress};

use super::ablation::{Ablation, BatchLosses};
use super::divergences::{AblatedDivergences, AblatedRun, DivergencesKey};
use super::losses::{CleanSource, Losses, LossesKey};
use super::moments::{Moments, MomentsKey};
use super::shelf::Shelf;
use crate::EvaluateError;
use crate::batch::{Activations, Batch};
use crate::model_weights::ModelWeights;
use crate::outliers::OutlierRule;
use crate::reading::Reading;
use crate::section_choice::SectionChoice;
use crate::source::Source;
use crate::subject::Subject;

/// What baselines a run needs.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) sections: Vec<SectionChoice>,
    /// Each once.
    pub(crate) rules: Vec<OutlierRule>,
    pub(crate) clean_source: CleanSource,
}

/// Baselines of a run; each list has one entry a shard, in the cache's order.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    losses: Vec<(SectionChoice, Vec<Losses>)>,
    divergences: Vec<(SectionChoice, Vec<AblatedDivergences>)>,
    moments: Vec<(SectionChoice, OutlierRule, Vec<Moments>)>,
}

impl Baselines {
    /// Losses of a section.
    pub(crate) fn losses(&self, section: SectionChoice) -> &[Losses] {
        let found = self.losses.iter().find(|(of, _)| *of == section);
        found.map_or(&[], |(_, shards)| shards)
    }

    /// Divergences of the zero-ablated run over a section; empty where they are not wanted.
    pub(crate) fn divergences(&self, section: SectionChoice) -> &[AblatedDivergences] {
        let found = self.divergences.iter().find(|(of, _)| *of == section);
        found.map_or(&[], |(_, shards)| shards)
    }

    /// Moments of a section under a rule.
    pub(crate) fn moments(&self, section: SectionChoice, rule: OutlierRule) -> &[Moments] {
        let found = self.moments.iter().find(|(of, under, _)| *of == section && *under == rule);
        found.map_or(&[], |(_, _, shards)| shards)
    }
}

/// Reads kept baselines and computes those that are missing.
pub(crate) fn prepare(
    subject: &Subject,
    source: Source<'_>,
    reading: Reading<'_>,
    wanted: &Wanted,
    progress: Progress,
) -> Result<Baselines, EvaluateError> {
    let shelf = Shelf::of(&subject.cache);
    let keys = Keys { subject, reading, clean_source: wanted.clean_source };
    let (mut baselines, mut missing) = look(&shelf, &keys, wanted);
    if !missing.is_empty() {
        let gauge = progress.gauge(missing.doing(), Some(subject.cache.manifest().held.tokens));
        let sections: Vec<SectionChoice> = missing.losses.iter().map(|(section, _)| *section).collect();
        let ablation = match reading.upper_half {
            Some(upper_half) if !sections.is_empty() => Some(Ablation::new(upper_half, sections, wanted.clean_source)?),
            _ => None,
        };
        let sections: Vec<SectionChoice> = missing.divergences.iter().map(|(section, _)| *section).collect();
        let ablated = match reading.upper_half {
            Some(upper_half) if !sections.is_empty() => Some(AblatedRun::new(reading, upper_half, sections)),
            _ => None,
        };
        let moments: Vec<(SectionChoice, OutlierRule)> =
            missing.moments.iter().map(|(section, rule, _)| (*section, *rule)).collect();
        source.for_each(
            &gauge,
            |batch| {
                let activations = batch.to_device(source)?;
                let moments = batch_moments(batch, &activations, &moments)?;
                let losses = ablation.as_ref().map(|ablation| ablation.measure(batch, &activations)).transpose()?;
                let divergences = ablated.as_ref().map(|ablated| ablated.measure(batch, &activations)).transpose()?;
                Ok((moments, losses.unwrap_or_default(), divergences.unwrap_or_default()))
            },
            |batch, (moments, losses, divergences)| {
                missing.add(batch, moments, losses, &divergences);
                Ok(())
            },
        )?;
    }
    for (section, computed) in missing.losses {
        keys.losses(section).inspect(|key| shelf.put(key, &computed));
        baselines.losses.push((section, computed));
    }
    for (section, computed) in missing.divergences {
        keys.divergences(section).inspect(|key| shelf.put(key, &computed));
        baselines.divergences.push((section, computed));
    }
    for (section, rule, computed) in missing.moments {
        shelf.put(&keys.moments(section, rule), &computed);
        baselines.moments.push((section, rule, computed));
    }
    Ok(baselines)
}

/// What baselines of a run are called on the shelf.
struct Keys<'run> {
    subject: &'run Subject,
    reading: Reading<'run>,
    clean_source: CleanSource,
}

impl Keys<'_> {
    fn site(&self) -> String {
        let label = self.subject.point.label();
        match self.subject.weights {
            ModelWeights::AsStored => label,
            centred @ ModelWeights::CentredWriting => format!("{label}.{centred}"),
        }
    }

    /// `None` without a model.
    fn losses(&self, section: SectionChoice) -> Option<LossesKey> {
        let precision = self.reading.upper_half?.precision();
        Some(LossesKey { site: self.site(), section, precision, clean_source: self.clean_source })
    }

    /// `None` where they are not wanted.
    fn divergences(&self, section: SectionChoice) -> Option<DivergencesKey> {
        let (precision, way) = (self.reading.upper_half?.precision(), self.reading.kl?);
        Some(DivergencesKey { site: self.site(), section, precision, way })
    }

    fn moments(&self, section: SectionChoice, rule: OutlierRule) -> MomentsKey {
        let excluded = self.subject.excluded.tokens();
        MomentsKey { site: self.site(), section, largest_norm: rule.threshold(), excluded }
    }
}

/// What is on the shelf of what is wanted, and empty sums of what is not.
fn look(shelf: &Shelf, keys: &Keys<'_>, wanted: &Wanted) -> (Baselines, Missing) {
    let subject = keys.subject;
    let width = subject.point.target.d_model;
    let shards = || subject.cache.manifest().shards.iter().map(|shard| shard.index);
    let (mut baselines, mut missing) = (Baselines::default(), Missing::default());
    for &section in &wanted.sections {
        if let Some(key) = keys.losses(section) {
            match shelf.get(&key) {
                Some(kept) => baselines.losses.push((section, kept)),
                None => missing.losses.push((section, shards().map(empty_losses).collect())),
            }
        }
        if let Some(key) = keys.divergences(section) {
            let empty = |shard| AblatedDivergences { shard, ..AblatedDivergences::default() };
            match shelf.get(&key) {
                Some(kept) => baselines.divergences.push((section, kept)),
                None => missing.divergences.push((section, shards().map(empty).collect())),
            }
        }
        for &rule in &wanted.rules {
            let kept: Option<Vec<Moments>> = shelf.get(&keys.moments(section, rule));
            if let Some(kept) = kept.filter(|kept| kept.iter().all(|shard| shard.sum.len() == width)) {
                baselines.moments.push((section, rule, kept));
            } else {
                let empty = shards().map(|shard| Moments::new(shard, width)).collect();
                missing.moments.push((section, rule, empty));
            }
        }
    }
    (baselines, missing)
}

fn empty_losses(shard: usize) -> Losses {
    Losses { shard, ..Losses::default() }
}

/// Baselines that are being computed.
#[derive(Default)]
struct Missing {
    losses: Vec<(SectionChoice, Vec<Losses>)>,
    divergences: Vec<(SectionChoice, Vec<AblatedDivergences>)>,
    moments: Vec<(SectionChoice, OutlierRule, Vec<Moments>)>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.losses.is_empty() && self.divergences.is_empty() && self.moments.is_empty()
    }

    /// What the user is told meanwhile.
    fn doing(&self) -> &'static str {
        if self.losses.is_empty() && self.divergences.is_empty() { "mean activation" } else { "zero ablation" }
    }

    /// Adds what was measured on the next batch, in the order of these lists.
    fn add(&mut self, batch: &Batch, moments: Vec<Moments>, losses: Vec<BatchLosses>, divergences: &[Vec<f64>]) {
        for ((_, _, shards), measured) in self.moments.iter_mut().zip(moments) {
            shards[batch.place].merge(&measured);
        }
        for ((section, shards), BatchLosses { clean, zero }) in self.losses.iter_mut().zip(losses) {
            shards[batch.place].add(batch, &batch.counted(*section), &clean, &zero);
        }
        for ((section, shards), kl) in self.divergences.iter_mut().zip(divergences) {
            shards[batch.place].add(batch, &batch.counted(*section), kl);
        }
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
