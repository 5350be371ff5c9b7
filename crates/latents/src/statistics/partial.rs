//! Statistics of some of the tokens, which those of other tokens can be added to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cofiring::PairSums;
use crate::exact_sum::ExactSum;
use crate::examples::Smallest;
use crate::groups::Group;
use crate::histogram::Histogram;
use crate::settings::StatisticsSettings;
use crate::statistics::latents::{GroupTokens, Latent, SaeLatents};

/// Firings of the uniform sample from which each stratified one is chosen.
pub(super) const OVERSAMPLE: usize = 4;

/// Largest count that is taken from a file: a million of them fit into 64 bits.
const LARGEST_COUNT: u64 = 1 << 43;

/// Statistics of the latents of one SAE on some tokens. It can be written to a file with `serde`, and what comes from one is
/// checked with [`check`](Self::check) before anything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartialStatistics {
    pub(super) settings: StatisticsSettings,
    /// Tokens that the SAE has read.
    pub(super) tokens: u64,
    pub(super) groups: BTreeMap<Group, GroupCounts>,
    pub(super) latents: Vec<LatentSums>,
    pub(super) pairs: PairSums,
}

/// Counts of a group of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GroupCounts {
    /// Tokens that the SAE has read.
    pub(super) tokens: u64,
    /// Those at which each latent fires.
    pub(super) firings: Vec<u64>,
}

/// What is kept of a latent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LatentSums {
    pub(super) firings: u64,
    pub(super) sum: ExactSum,
    pub(super) max: f32,
    pub(super) histogram: Histogram,
    pub(super) top: Smallest,
    pub(super) sample: Smallest,
}

impl PartialStatistics {
    /// What was collected.
    pub fn settings(&self) -> &StatisticsSettings {
        &self.settings
    }

    /// Sequence and position of all examples, and of firings that may become examples when others are added.
    pub fn places(&self) -> impl Iterator<Item = (u64, u32)> {
        let kept = self.latents.iter().flat_map(|own| own.top.examples().iter().chain(own.sample.examples()));
        kept.map(|example| (example.sequence, example.at.position))
    }

    /// Checks statistics from a file, so that nothing that follows depends on numbers that cannot be. The error is what was
    /// found.
    pub fn check(&self) -> Result<(), String> {
        let Self { settings, tokens, groups, latents, pairs } = self;
        let (width, most) = (settings.width, StatisticsSettings::MOST);
        if settings.top.max(settings.sampled).max(settings.cofiring) > most {
            return Err(format!("more than {most} examples or latents for each"));
        }
        if latents.len() != width || groups.values().any(|own| own.firings.len() != width) {
            return Err(format!("counts of other latents than of {width}"));
        }
        let counts = groups.values().flat_map(|own| own.firings.iter().chain([&own.tokens]));
        let counts = counts.chain(latents.iter().map(|own| &own.firings)).chain([tokens]);
        if let Some(count) = counts.copied().find(|&count| count > LARGEST_COUNT) {
            return Err(format!("a count of {count}"));
        }
        let is_whole = |own: &LatentSums| {
            own.max.is_finite()
                && own.histogram.is_within(LARGEST_COUNT)
                && own.top.is_choice_of(settings.top)
                && own.sample.is_choice_of(settings.sampled * OVERSAMPLE)
        };
        if let Some(latent) = latents.iter().position(|own| !is_whole(own)) {
            return Err(format!("statistics of latent {latent} that cannot be"));
        }
        pairs.check(settings, &self.firings())
    }

    /// Adds the statistics of other tokens, which were collected with the same settings.
    pub fn add(&mut self, other: Self) {
        let Self { settings, tokens, groups, latents, pairs } = other;
        self.tokens += tokens;
        for (group, other) in groups {
            let empty = || GroupCounts { tokens: 0, firings: vec![0; settings.width] };
            let own = self.groups.entry(group).or_insert_with(empty);
            own.tokens += other.tokens;
            for (own, other) in own.firings.iter_mut().zip(other.firings) {
                *own += other;
            }
        }
        for (own, other) in self.latents.iter_mut().zip(latents) {
            own.firings += other.firings;
            own.sum.add_sum(other.sum);
            own.max = own.max.max(other.max);
            own.histogram.add_all(&other.histogram);
            own.top.add(other.top, settings.top);
            own.sample.add(other.sample, settings.sampled * OVERSAMPLE);
        }
        self.pairs.add(pairs);
    }

    /// The statistics of all latents.
    pub fn finish(self) -> SaeLatents {
        let firings = self.firings();
        let Self { settings, tokens, groups, latents, pairs } = self;
        let (cofiring, cofiring_tokens) = pairs.strongest(&firings, settings.cofiring);
        let latent = |(latent, (own, cofiring)): (usize, (LatentSums, _))| Latent {
            firings: own.firings,
            mean: (own.firings > 0).then(|| own.sum.value() / own.firings as f64),
            max: (own.firings > 0).then_some(own.max),
            histogram: own.histogram,
            groups: groups.values().map(|counts| counts.firings[latent]).collect(),
            cofiring,
            top: own.top.into_examples(),
            sampled: own.sample.stratified(settings.sampled),
        };
        let latents = latents.into_iter().zip(cofiring).enumerate().map(latent).collect();
        let of_group = |(group, counts): (Group, GroupCounts)| GroupTokens { group, tokens: counts.tokens };
        SaeLatents { tokens, groups: groups.into_iter().map(of_group).collect(), latents, cofiring_tokens }
    }

    fn firings(&self) -> Vec<u64> {
        self.latents.iter().map(|own| own.firings).collect()
    }
}
