//! Baselines for a run: those kept beside the cache, and one pass over it for those that are missing.

use hayloft_terminal::{Phase, Progress};

use super::ablation::{Ablation, BatchLosses};
use super::losses::{CleanSource, Losses, LossesKey};
use super::moments::{Moments, MomentsKey};
use super::shelf::Shelf;
use crate::EvaluateError;
use crate::batch::{Activations, Batch};
use crate::outliers::OutlierRule;
use crate::section_choice::SectionChoice;
use crate::source::Source;
use crate::subject::Subject;
use crate::upper_half::UpperHalf;

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
    moments: Vec<(SectionChoice, OutlierRule, Vec<Moments>)>,
}

impl Baselines {
    /// Losses of a section.
    pub(crate) fn losses(&self, section: SectionChoice) -> &[Losses] {
        let found = self.losses.iter().find(|(of, _)| *of == section);
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
    upper_half: Option<&UpperHalf>,
    wanted: &Wanted,
    progress: Progress,
) -> Result<Baselines, EvaluateError> {
    let shelf = Shelf::of(&subject.cache);
    let losses_key = |section, upper_half: &UpperHalf| LossesKey {
        site: subject.site.name.to_string(),
        section,
        precision: upper_half.precision(),
        clean_source: wanted.clean_source,
    };
    let moments_key = |section, rule: OutlierRule| MomentsKey {
        site: subject.site.name.to_string(),
        section,
        largest_norm: rule.threshold(),
    };
    let d_model = subject.site.d_model;
    let mut baselines = Baselines::default();
    let mut missing = Missing { losses: Vec::new(), moments: Vec::new() };
    let shards: Vec<usize> = subject.cache.manifest().shards.iter().map(|shard| shard.index).collect();
    for &section in &wanted.sections {
        if let Some(upper_half) = upper_half {
            match shelf.get(&losses_key(section, upper_half)) {
                Some(kept) => baselines.losses.push((section, kept)),
                None => missing.losses.push((section, shards.iter().map(|&shard| empty_losses(shard)).collect())),
            }
        }
        for &rule in &wanted.rules {
            let kept: Option<Vec<Moments>> = shelf.get(&moments_key(section, rule));
            if let Some(kept) = kept.filter(|kept| kept.iter().all(|shard| shard.sum.len() == d_model)) {
                baselines.moments.push((section, rule, kept));
            } else {
                let empty = shards.iter().map(|&shard| Moments::new(shard, d_model)).collect();
                missing.moments.push((section, rule, empty));
            }
        }
    }
    if !missing.losses.is_empty() || !missing.moments.is_empty() {
        let doing = if missing.losses.is_empty() { "mean activation" } else { "zero ablation" };
        let gauge = progress.gauge(doing, Some(subject.cache.manifest().held.tokens));
        let sections: Vec<SectionChoice> = missing.losses.iter().map(|(section, _)| *section).collect();
        let ablation = match upper_half {
            Some(upper_half) if !sections.is_empty() => Some(Ablation::new(upper_half, sections, wanted.clean_source)?),
            _ => None,
        };
        let moments: Vec<(SectionChoice, OutlierRule)> =
            missing.moments.iter().map(|(section, rule, _)| (*section, *rule)).collect();
        source.for_each(
            &gauge,
            |batch| {
                let activations = batch.to_device(source.device)?;
                let moments = batch_moments(batch, &activations, &moments)?;
                let losses = ablation.as_ref().map(|ablation| ablation.measure(batch, &activations)).transpose()?;
                Ok((moments, losses.unwrap_or_default()))
            },
            |batch, (moments, losses)| {
                missing.add(batch, moments, losses);
                Ok(())
            },
        )?;
    }
    for (section, computed) in missing.losses {
        if let Some(upper_half) = upper_half {
            shelf.put(&losses_key(section, upper_half), &computed);
        }
        baselines.losses.push((section, computed));
    }
    for (section, rule, computed) in missing.moments {
        shelf.put(&moments_key(section, rule), &computed);
        baselines.moments.push((section, rule, computed));
    }
    Ok(baselines)
}

fn empty_losses(shard: usize) -> Losses {
    Losses { shard, ..Losses::default() }
}

/// Baselines that are being computed.
struct Missing {
    losses: Vec<(SectionChoice, Vec<Losses>)>,
    moments: Vec<(SectionChoice, OutlierRule, Vec<Moments>)>,
}

impl Missing {
    /// Adds what was measured on the next batch, in the order of these lists.
    fn add(&mut self, batch: &Batch, moments: Vec<Moments>, losses: Vec<BatchLosses>) {
        for ((_, _, shards), measured) in self.moments.iter_mut().zip(moments) {
            shards[batch.place].merge(&measured);
        }
        for ((section, shards), BatchLosses { clean, zero }) in self.losses.iter_mut().zip(losses) {
            shards[batch.place].add(&batch.positions_at(&batch.counted(*section)), &clean, &zero);
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
        let mut moments = Moments::new(batch.shard, activations.d_model());
        moments.add(batch, activations, &norms, *section, *rule)?;
        all.push(moments);
    }
    Ok(all)
}
