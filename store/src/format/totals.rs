//! Totals over all shards of a manifest.

use std::collections::BTreeMap;

use crate::codec::rounding::RoundingError;
use crate::format::group_sums::{self, GroupSums};
use crate::format::manifest::{GENERATOR, Manifest, SiteRecord};
use crate::format::plan::PlanReader;
use crate::format::records::Counts;
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::WrittenShard;
use crate::format::site::SiteName;
use crate::format::statistics::ActivationSums;

/// Running totals over shards, added in order of their numbers. Memory is independent of the number of shards.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    held: Counts,
    sites: Vec<(ActivationSums, Option<RoundingError>)>,
    logits_rounding: Option<RoundingError>,
    statistics: Vec<GroupSums>,
}

impl Totals {
    pub(crate) fn new(settings: &HarvestSettings) -> Self {
        let sites = settings.sites.iter().map(|site| (ActivationSums::new(settings.width(site)), None));
        Self { held: Counts::default(), sites: sites.collect(), logits_rounding: None, statistics: Vec::new() }
    }

    /// Adds the next shard.
    pub(crate) fn add(&mut self, shard: &WrittenShard) {
        let contents = &shard.contents;
        self.held.add(&contents.counts);
        for ((sum, rounding), site) in self.sites.iter_mut().zip(&contents.sites) {
            sum.add(&site.sums);
            *rounding = summed(*rounding, site.rounding);
        }
        self.logits_rounding =
            summed(self.logits_rounding, contents.logits.as_ref().and_then(|logits| logits.rounding));
        self.statistics = group_sums::with_next(&self.statistics, &contents.statistics);
    }

    pub(crate) fn sites(&self, settings: &HarvestSettings) -> Vec<SiteRecord> {
        let of_site = |(name, (sums, rounding)): (&SiteName, &(ActivationSums, Option<RoundingError>))| SiteRecord {
            name: name.clone(),
            d_model: settings.width(name),
            rows: sums.rows,
            non_finite_rows: sums.non_finite_rows,
            mean_norm: sums.mean_norm(),
            mean: sums.mean(),
            rounding: *rounding,
        };
        settings.sites.iter().zip(&self.sites).map(of_site).collect()
    }

    /// Returns the sums by section and subset.
    pub(crate) fn statistics(&self) -> &[GroupSums] {
        &self.statistics
    }

    /// Returns the manifest over the added shards, with the records `shards`.
    pub(crate) fn manifest<Shards>(
        &self,
        plan: &PlanReader,
        settings: &HarvestSettings,
        shards: Shards,
    ) -> Manifest<Shards> {
        Manifest {
            format: plan.plan().format,
            generator: GENERATOR.to_owned(),
            plan_blake3: plan.blake3().to_owned(),
            model: settings.model.clone(),
            corpus: plan.plan().corpus.clone(),
            predictions: settings.predictions,
            codec: settings.codec,
            dtype: settings.dtype,
            sites: self.sites(settings),
            logits_rounding: self.logits_rounding,
            statistics: self.statistics.clone(),
            planned_shards: plan.plan().shards.len(),
            planned: plan.plan().counts.clone(),
            held: self.held.clone(),
            shards,
        }
    }
}

/// Adds two optional rounding errors; none if both are absent.
fn summed(sum: Option<RoundingError>, next: Option<RoundingError>) -> Option<RoundingError> {
    match (sum, next) {
        (Some(mut sum), Some(next)) => {
            sum.add(next);
            Some(sum)
        }
        (sum, next) => sum.or(next),
    }
}

/// Returns the manifest of a cache with these shards.
pub(crate) fn manifest_of(
    plan: &PlanReader,
    settings: &HarvestSettings,
    shards: &BTreeMap<usize, WrittenShard>,
) -> Manifest {
    let mut totals = Totals::new(settings);
    for shard in shards.values() {
        totals.add(shard);
    }
    totals.manifest(plan, settings, shards.values().map(|shard| shard.record.clone()).collect())
}
