//! Baselines for a run: those kept beside the cache, and one pass over it for those that are missing.

use hayloft_terminal::Progress;
use tch::TchError;

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
    upper_half: &UpperHalf,
    wanted: &Wanted,
    progress: Progress,
) -> Result<Baselines, EvaluateError> {
    let shelf = Shelf::of(&subject.cache);
    let losses_key = |section| LossesKey {
        site: subject.site.name.to_string(),
        section,
        precision: subject.precision,
        clean_source: wanted.clean_source,
    };
    let moments_key = |section, rule: OutlierRule| MomentsKey {
        site: subject.site.name.to_string(),
        section,
        largest_norm: rule.threshold(),
    };
    let d_model = subject.site.d_model;
    let mut baselines = Baselines::default();
    let mut missing = Missing { wanted, losses: Vec::new(), moments: Vec::new() };
    let shards: Vec<usize> = subject.cache.manifest().shards.iter().map(|shard| shard.index).collect();
    for &section in &wanted.sections {
        match shelf.get(&losses_key(section)) {
            Some(kept) => baselines.losses.push((section, kept)),
            None => missing.losses.push((section, shards.iter().map(|&shard| empty_losses(shard)).collect())),
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
        source.for_each(&gauge, |batch| missing.add(batch, upper_half))?;
    }
    for (section, computed) in missing.losses {
        shelf.put(&losses_key(section), &computed);
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
struct Missing<'wanted> {
    wanted: &'wanted Wanted,
    losses: Vec<(SectionChoice, Vec<Losses>)>,
    moments: Vec<(SectionChoice, OutlierRule, Vec<Moments>)>,
}

impl Missing<'_> {
    fn add(&mut self, batch: &Batch, upper_half: &UpperHalf) -> Result<(), EvaluateError> {
        let activations = batch.to_device(upper_half.device())?;
        self.add_moments(batch, &activations)?;
        self.add_losses(batch, &activations, upper_half)
    }

    fn add_moments(&mut self, batch: &Batch, activations: &Activations) -> Result<(), TchError> {
        if self.moments.is_empty() {
            return Ok(());
        }
        let norms = activations.norms()?;
        for (section, rule, shards) in &mut self.moments {
            shards[batch.place].add(batch, activations, &norms, *section, *rule)?;
        }
        Ok(())
    }

    fn add_losses(
        &mut self,
        batch: &Batch,
        activations: &Activations,
        upper_half: &UpperHalf,
    ) -> Result<(), EvaluateError> {
        for (section, shards) in &mut self.losses {
            let counted = batch.counted(*section);
            if counted.is_empty() {
                continue;
            }
            let cached = match self.wanted.clean_source {
                CleanSource::Cache => batch.losses_at(&counted),
                CleanSource::Recomputed => None,
            };
            let clean = match cached {
                Some(losses) => losses,
                None => upper_half.losses(batch, &upper_half.clean(activations)?, &counted)?,
            };
            let ablated = upper_half.ablated(activations, &batch.members(*section))?;
            let zero = upper_half.losses(batch, &ablated, &counted)?;
            shards[batch.place].add(&batch.positions_at(&counted), &clean, &zero);
        }
        Ok(())
    }
}
