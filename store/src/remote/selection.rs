//! Selects part of a remote cache.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Result, StoreError, joined};
use crate::format::manifest::Manifest;
use crate::format::records::ShardRecord;
use crate::format::section::Section;
use crate::format::site::SiteName;

/// What to pull. An empty list selects everything.
#[derive(Clone, Debug, Default)]
pub struct PullSelection {
    /// The sites.
    pub sites: Vec<SiteName>,
    /// The shards, by number in the plan.
    pub shards: Vec<ShardRange>,
    /// Only shards that hold tokens of one of these sections.
    pub sections: Vec<Section>,
    /// Only shards that hold tokens of one of these subsets.
    pub subsets: Vec<String>,
}

/// A range of shard numbers: `7`, or `0..3` for 0, 1 and 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRange(pub Range<usize>);

impl FromStr for ShardRange {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        let range = match text.split_once("..") {
            Some((start, end)) => start.trim().parse().ok().zip(end.trim().parse().ok()).map(|(start, end)| start..end),
            None => text.trim().parse().ok().map(|index: usize| index..index.saturating_add(1)),
        };
        range.filter(|range| !range.is_empty()).map(Self).ok_or_else(|| {
            StoreError::invalid(
                "shards",
                "a number such as 7, or a range such as 0..3, which is 0, 1 and 2",
                format!("`{text}`"),
            )
        })
    }
}

impl PullSelection {
    /// Returns the selected shards of `manifest`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the selection names something that does not exist.
    pub(crate) fn shards<'a>(&self, manifest: &'a Manifest) -> Result<Vec<&'a ShardRecord>> {
        let held: BTreeSet<usize> = manifest.shards.iter().map(|shard| shard.index).collect();
        for ShardRange(range) in &self.shards {
            if held.range(range.clone()).next().is_none() {
                let last = held.last().map_or_else(|| "none".to_owned(), |last| format!("shards up to {last}"));
                return Err(StoreError::invalid(
                    "shards",
                    format!("some of the {last} there are"),
                    format!("{}..{}", range.start, range.end),
                ));
            }
        }
        for section in &self.sections {
            check("section", section.as_str(), manifest.held.sections.keys().map(|section| section.as_str()))?;
        }
        for subset in &self.subsets {
            check("subset", subset, manifest.held.subsets.keys().map(String::as_str))?;
        }
        let wanted = |shard: &&ShardRecord| {
            let counts = &shard.counts;
            let in_range = |ShardRange(range): &ShardRange| range.contains(&shard.index);
            (self.shards.is_empty() || self.shards.iter().any(in_range))
                && (self.sections.is_empty()
                    || self.sections.iter().any(|section| counts.sections.contains_key(section)))
                && (self.subsets.is_empty() || self.subsets.iter().any(|subset| counts.subsets.contains_key(subset)))
        };
        let chosen: Vec<&ShardRecord> = manifest.shards.iter().filter(wanted).collect();
        if chosen.is_empty() {
            return Err(StoreError::invalid("what to pull", "at least one shard that is all that was named", "none"));
        }
        Ok(chosen)
    }
}

fn check<'a>(what: &str, named: &str, held: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    if held.clone().any(|name| name == named) {
        return Ok(());
    }
    Err(StoreError::invalid(what, format!("one of {}", joined(held)), format!("`{named}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::support::{harvest, settings};
    use hayloft_runtime::Dtype;

    #[test]
    fn shards_are_chosen_by_number_section_and_subset() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = harvest(folder.path(), &settings(Dtype::Bf16, Codec::RAW));
        let chosen = |selection: &PullSelection| -> Result<Vec<usize>> {
            Ok(selection.shards(&manifest)?.iter().map(|shard| shard.index).collect())
        };
        assert_eq!(chosen(&PullSelection::default()).unwrap(), [0, 1, 2]);
        let by_number = |words: &[&str]| PullSelection {
            shards: words.iter().map(|text| text.parse().unwrap()).collect(),
            ..PullSelection::default()
        };
        assert_eq!(chosen(&by_number(&["0..2"])).unwrap(), [0, 1]);
        assert_eq!(chosen(&by_number(&["2", "0..1"])).unwrap(), [0, 2]);
        assert!(chosen(&by_number(&["3"])).unwrap_err().to_string().contains("up to 2"));
        let section = |section| PullSelection { sections: vec![section], ..PullSelection::default() };
        assert_eq!(chosen(&section(Section::Text)).unwrap(), [0, 1, 2]);
        assert!(chosen(&section(Section::Rollout)).unwrap_err().to_string().contains("one of text, bos"));
        let papers = PullSelection { subsets: vec!["ArXiv".to_owned()], ..PullSelection::default() };
        let expected: Vec<usize> = manifest
            .shards
            .iter()
            .filter(|shard| shard.counts.subsets.contains_key("ArXiv"))
            .map(|shard| shard.index)
            .collect();
        assert!(!expected.is_empty() && expected.len() < 3, "{expected:?} would show nothing");
        assert_eq!(chosen(&papers).unwrap(), expected);
        for text in ["", "a", "3..3", "5..2", "1..", "-1"] {
            assert!(text.parse::<ShardRange>().is_err(), "{text}");
        }
    }
}
