//! What is known of SAEs' latents on some shards, which other shards can be added to.

use std::collections::BTreeMap;

use hayloft_latents::{AblationSums, Additions, LogitTokens, PartialStatistics, SaeLatents};
use hayloft_rows::LeftOut;
use serde::{Deserialize, Serialize};

use crate::latents::report::LatentsReport;
use crate::parts::PartialError;

/// What was collected of all SAEs.
#[derive(Debug, Clone)]
pub(crate) struct Collected {
    /// The settings and the shards. The figures of its SAEs come with [`finish`](Self::finish).
    pub(crate) report: LatentsReport,
    pub(crate) saes: Vec<CollectedSae>,
}

/// What was collected of an SAE.
#[derive(Debug, Clone)]
pub(crate) struct CollectedSae {
    pub(crate) statistics: PartialStatistics,
    pub(crate) beside: Beside,
}

/// What was collected of an SAE beside its statistics.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// Rows that the SAE does not read.
    pub(crate) left_out: LeftOut,
    /// For each ablated latent its sums on each shard, by the shard's number.
    pub(crate) ablations: BTreeMap<u32, BTreeMap<usize, AblationSums>>,
    /// The nearest latents of ranges of latents, by the first of each; empty if none are listed.
    pub(crate) nearest: BTreeMap<usize, Vec<Vec<(u32, f32)>>>,
    /// Effects on logits of ranges of latents, by the first of each; empty without the model.
    pub(crate) logits: BTreeMap<usize, Vec<LogitTokens>>,
}

/// Statistics of an SAE's latents, and what stands beside them in the files.
pub(crate) type Finished = (SaeLatents, Additions);

impl Collected {
    /// Adds what was collected of the same SAEs on other shards, with the same settings.
    pub(crate) fn add(&mut self, other: Self) {
        self.report.add_shards(&other.report);
        for (own, CollectedSae { statistics, beside }) in self.saes.iter_mut().zip(other.saes) {
            own.statistics.add(statistics);
            own.beside.add(beside);
        }
    }

    /// The report of all that was collected, and for each SAE what is written.
    pub(crate) fn finish(self) -> Result<(LatentsReport, Vec<Finished>), PartialError> {
        let Self { mut report, saes } = self;
        let (lists_nearest, has_logits) = (report.nearest > 0, report.logit_tokens.is_some());
        let mut finished = Vec::with_capacity(saes.len());
        for (own, CollectedSae { statistics, beside }) in report.saes.iter_mut().zip(saes) {
            let width = statistics.settings().width;
            let missing = |latent| PartialError::MissingLatents { sae: own.name.clone(), width, latent };
            let nearest = if lists_nearest { whole(beside.nearest, width).map_err(missing)? } else { none(width) };
            let logits = if has_logits { whole(beside.logits, width).map_err(missing)? } else { Vec::new() };
            let total = |of_shards: BTreeMap<usize, AblationSums>| {
                of_shards.into_values().fold(AblationSums::default(), |mut sums, own| {
                    sums.tokens += own.tokens;
                    sums.ce_deltas += own.ce_deltas;
                    sums
                })
            };
            let ablations = beside.ablations.into_iter().map(|(latent, own)| (latent, total(own))).collect();
            let statistics = statistics.finish();
            own.complete(&statistics, beside.left_out);
            finished.push((statistics, Additions { nearest, logits, ablations }));
        }
        Ok((report, finished))
    }
}

impl Beside {
    fn add(&mut self, other: Self) {
        let Self { left_out, ablations, nearest, logits } = other;
        self.left_out.add(left_out);
        for (latent, of_shards) in ablations {
            self.ablations.entry(latent).or_default().extend(of_shards);
        }
        self.nearest.extend(nearest);
        self.logits.extend(logits);
    }
}

/// Puts ranges together that cover all of `width` latents; an error is the first latent that they lack.
fn whole<Own>(ranges: BTreeMap<usize, Vec<Own>>, width: usize) -> Result<Vec<Own>, usize> {
    let mut all = Vec::new();
    for (first, range) in ranges {
        if first != all.len() {
            return Err(all.len());
        }
        all.extend(range);
    }
    if all.len() == width { Ok(all) } else { Err(all.len().min(width.saturating_sub(1))) }
}

fn none<Own: Clone>(width: usize) -> Vec<Vec<Own>> {
    vec![Vec::new(); width]
}
