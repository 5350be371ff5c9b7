//! The section that a result covers.

use std::fmt;
use std::str::FromStr;

use hayloft_store::{Cache, Section, StoreError};
use serde::{Deserialize, Serialize};

use crate::error::RowsError;

/// All rows, as in the Pile protocol, or the rows of one section, as in the Alpaca protocol.
///
/// The choice decides which positions are spliced and ablated, which losses count (those at its rows with a next
/// token), and which rows L0, error and explained variance cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SectionChoice {
    /// Every row.
    All,
    /// The rows of one section.
    Only(Section),
}

impl SectionChoice {
    const ALL: &'static str = "all";

    /// Help of an option that takes sections.
    pub const HELP: &'static str = "Take the rows of these sections: all, or one or more of text, bos, control, \
        user_prompt, rollout, final and system, separated by commas or by repeating the option. Training takes the rows of any of \
        them; an evaluation splices, ablates and counts each by itself, and has figures for each [default: all]";

    /// Whether the choice includes a section.
    pub fn contains(self, section: Section) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only == section,
        }
    }

    /// Returns an error if the cache has no token in the section.
    pub fn check(self, cache: &Cache) -> Result<(), RowsError> {
        let Self::Only(only) = self else { return Ok(()) };
        let held = &cache.manifest().held.sections;
        if held.get(&only).is_some_and(|&tokens| tokens > 0) {
            return Ok(());
        }
        let available = held.iter().map(|(section, tokens)| format!("{section} ({tokens})")).collect::<Vec<_>>();
        Err(RowsError::EmptySection {
            cache: cache.folder().to_path_buf(),
            section: only.to_string(),
            available: available.join(", "),
        })
    }
}

impl fmt::Display for SectionChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str(Self::ALL),
            Self::Only(section) => section.fmt(formatter),
        }
    }
}

impl FromStr for SectionChoice {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        if name == Self::ALL { Ok(Self::All) } else { name.parse().map(Self::Only) }
    }
}

impl TryFrom<String> for SectionChoice {
    type Error = StoreError;

    fn try_from(name: String) -> Result<Self, StoreError> {
        name.parse()
    }
}

impl From<SectionChoice> for String {
    fn from(choice: SectionChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["all", "user_prompt", "rollout"] {
            let choice: SectionChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
            assert_eq!(serde_json::from_value::<SectionChoice>(name.into()).unwrap(), choice);
        }
        assert!("everything".parse::<SectionChoice>().is_err());
    }
}
