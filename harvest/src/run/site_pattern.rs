//! Site patterns of the command line: one site, or one kind of site at several blocks.

use std::collections::BTreeSet;
use std::str::FromStr;

use hayloft_model::{ModelError, Site};

/// More blocks than any model has, so that a typing error does not produce a list of billions.
const MOST_BLOCKS: usize = 1 << 16;

/// Sites of one kind: `blocks.4.hook_resid_pre`, `blocks.{4,8..12}.hook_resid_pre` or `blocks.*.hook_resid_pre`. Ranges
/// in braces are inclusive, as in a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePattern {
    blocks: Blocks,
    /// The part after `blocks.L.`.
    hook: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Blocks {
    All,
    These(BTreeSet<usize>),
}

impl SitePattern {
    /// Returns the sites in a model of `n_blocks` blocks. Does not check that the model has them.
    pub fn sites(&self, n_blocks: usize) -> Result<Vec<Site>, ModelError> {
        let site = |block: usize| format!("blocks.{block}.{}", self.hook).parse();
        match &self.blocks {
            Blocks::All => (0..n_blocks).map(site).collect(),
            Blocks::These(blocks) => blocks.iter().copied().map(site).collect(),
        }
    }
}

impl From<Site> for SitePattern {
    fn from(site: Site) -> Self {
        let name = site.to_string();
        let hook = name.splitn(3, '.').nth(2).unwrap_or_default().to_owned();
        Self { blocks: Blocks::These(BTreeSet::from([site.layer()])), hook }
    }
}

impl FromStr for SitePattern {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let unknown = || Site::unknown(text);
        let rest = text.strip_prefix("blocks.").ok_or_else(unknown)?;
        let (blocks, hook) = if let Some(rest) = rest.strip_prefix('{') {
            let (list, hook) = rest.split_once("}.").ok_or_else(unknown)?;
            (Blocks::These(listed(list).ok_or_else(unknown)?), hook)
        } else if let Some(hook) = rest.strip_prefix("*.") {
            (Blocks::All, hook)
        } else {
            return text.parse::<Site>().map(Self::from);
        };
        format!("blocks.0.{hook}").parse::<Site>().map_err(|_| unknown())?;
        Ok(Self { blocks, hook: hook.to_owned() })
    }
}

/// Parses a list of numbers such as `4,8..12`.
fn listed(list: &str) -> Option<BTreeSet<usize>> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|&block| block < MOST_BLOCKS);
    let mut blocks = BTreeSet::new();
    for item in list.split(',') {
        match item.split_once("..") {
            Some((from, to)) => {
                let range = number(from)?..=number(to)?;
                if range.is_empty() {
                    return None;
                }
                blocks.extend(range);
            }
            None => {
                blocks.insert(number(item)?);
            }
        }
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        let sites = pattern.parse::<SitePattern>().unwrap().sites(3).unwrap();
        sites.iter().map(Site::to_string).collect()
    }

    #[test]
    fn one_site_is_itself() {
        assert_eq!(names("blocks.7.attn.hook_z"), ["blocks.7.attn.hook_z"]);
    }

    #[test]
    fn braces_name_many_blocks_each_once_and_in_order() {
        let expected: Vec<_> = [4, 8, 9, 10].iter().map(|block| format!("blocks.{block}.hook_resid_pre")).collect();
        assert_eq!(names("blocks.{8..10,4,9}.hook_resid_pre"), expected);
    }

    #[test]
    fn a_star_is_every_block() {
        assert_eq!(names("blocks.*.hook_mlp_out").len(), 3);
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in [
            "blocks.{}.hook_resid_pre",
            "blocks.{1,}.hook_resid_pre",
            "blocks.{3..1}.hook_resid_pre",
            "blocks.{1..99999999999}.hook_resid_pre",
            "blocks.{1,2}.hook_other",
            "blocks.{1,2.hook_resid_pre",
            "blocks.*",
            "layers.{1}.hook_resid_pre",
        ] {
            assert!(pattern.parse::<SitePattern>().is_err(), "{pattern}");
        }
    }
}
