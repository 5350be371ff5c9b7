//! JSON header of a partial result's file; long lists of numbers are stored as tensors.

use hayloft_results::{BySubset, CleanCheck, ComputeSample, StoredRounding, SubsetSums, Sums};
use hayloft_rows::SectionChoice;
use hayloft_runtime::Part;
use serde::{Deserialize, Serialize};

use super::measurement::{CacheIdentity, Measurement, Protocol, SaeIdentity};

/// The header: a measurement without its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) hayloft_version: String,
    pub(super) part: PartRecord,
    pub(super) cache: CacheIdentity,
    pub(super) protocol: Protocol,
    /// The numbers of the part's shards.
    pub(super) shards: Vec<usize>,
    /// Number of sequences in each of these shards, if sums per sequence are kept.
    pub(super) sequences: Vec<usize>,
    pub(super) clean_check: Option<CleanCheck>,
    pub(super) stored_rounding: Option<StoredRounding>,
    pub(super) saes: Vec<SaeIdentity>,
    pub(super) sections: Vec<SectionHeader>,
}

/// Which part of the cache's shards the file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartRecord {
    index: usize,
    of: usize,
}

impl PartRecord {
    pub(crate) fn of(part: Part) -> Self {
        Self { index: part.index(), of: part.of() }
    }

    /// The part, which must have these shards of all, by their numbers; an error says what was found in its place.
    pub(crate) fn part_with(self, shards: &[usize], all: &[usize]) -> Result<Part, String> {
        let Self { index, of } = self;
        let part = Part::new(index, of).ok_or_else(|| format!("part {index}/{of}"))?;
        if all.is_empty() || all.len() > Part::MOST || !all.is_sorted_by(|left, right| left < right) {
            return Err(format!("a cache of {} shards out of order", all.len()));
        }
        if all.get(part.range(all.len())) != Some(shards) {
            return Err(format!("other shards than those of part {part}"));
        }
        Ok(part)
    }
}

/// One SAE in one section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SectionHeader {
    /// Index of the SAE in the header's list.
    pub(super) sae: usize,
    pub(super) section: SectionChoice,
    /// Number of rows behind the latents' firing counts.
    pub(super) rows: u64,
    /// Sums per shard.
    pub(super) sums: Vec<Sums>,
    /// Sums per subset of each shard, if requested.
    pub(super) subsets: Option<Vec<BySubset<SubsetSums>>>,
    pub(super) sample: Option<ComputeSample>,
}

impl Header {
    pub(super) fn of(measurement: &Measurement, part: Part) -> Self {
        let Measurement { cache, protocol, shards, clean_check, stored_rounding, saes, sections } = measurement;
        let with_sequences = sections.iter().find_map(|own| own.sequences.as_ref());
        Self {
            hayloft_version: env!("CARGO_PKG_VERSION").to_owned(),
            part: PartRecord::of(part),
            cache: cache.clone(),
            protocol: protocol.clone(),
            shards: shards.clone(),
            sequences: with_sequences.map_or_else(Vec::new, |shards| shards.iter().map(Vec::len).collect()),
            clean_check: *clean_check,
            stored_rounding: *stored_rounding,
            saes: saes.clone(),
            sections: sections
                .iter()
                .map(|own| SectionHeader {
                    sae: own.sae,
                    section: own.section,
                    rows: own.latents.rows,
                    sums: own.shards.clone(),
                    subsets: own.subsets.clone(),
                    sample: own.sample.clone(),
                })
                .collect(),
        }
    }
}
