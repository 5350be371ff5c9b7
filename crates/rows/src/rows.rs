//! Selection of rows by section and token.

use std::fmt;

use hayloft_store::{Cache, Section, Shard, SiteName, StoreError};
use serde::{Deserialize, Serialize};

use crate::error::RowsError;
use crate::exclusion::{ExcludeChoice, Excluded};
use crate::section_choice::SectionChoice;

/// A selection of rows by section, without excluded tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChoice {
    /// The sections; empty means all.
    pub sections: Vec<SectionChoice>,
    /// The tokens to exclude.
    pub exclude: ExcludeChoice,
}

impl RowChoice {
    /// Whether the selection keeps every row.
    pub fn is_everything(&self) -> bool {
        self.exclude == ExcludeChoice::None && self.has_all_sections()
    }

    /// Resolves the selection for a cache. `special` returns the special tokens of its tokenizer: see [`Excluded::of`].
    pub fn on<E: From<RowsError>>(
        &self,
        cache: &Cache,
        special: impl FnOnce() -> Result<Vec<u32>, E>,
    ) -> Result<Rows, E> {
        Ok(Rows { sections: self.sections.clone(), excluded: Excluded::of(self.exclude, cache, special)? })
    }

    fn has_all_sections(&self) -> bool {
        self.sections.is_empty() || self.sections.contains(&SectionChoice::All)
    }
}

impl fmt::Display for RowChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_all_sections() {
            formatter.write_str("all rows")?;
        } else {
            let names: Vec<String> = self.sections.iter().map(SectionChoice::to_string).collect();
            write!(formatter, "rows of section {}", names.join(" and "))?;
        }
        formatter.write_str(match self.exclude {
            ExcludeChoice::None => "",
            ExcludeChoice::Bos => " but BOS",
            ExcludeChoice::Special => " but special tokens",
        })
    }
}

/// A selection of rows that is resolved for one cache.
#[derive(Debug, Clone)]
pub struct Rows {
    sections: Vec<SectionChoice>,
    /// The excluded tokens.
    pub excluded: Excluded,
}

impl Rows {
    /// Selects the rows of these sections (empty means all), without excluded tokens.
    pub fn new(sections: Vec<SectionChoice>, excluded: Excluded) -> Self {
        Self { sections, excluded }
    }

    /// Selects the rows of all sections, without excluded tokens.
    pub fn of_any_section(excluded: Excluded) -> Self {
        Self { sections: Vec::new(), excluded }
    }

    /// Whether the selection includes a section.
    pub fn has_section(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|choice| choice.contains(section))
    }

    /// Whether the selection includes a row of this section and token.
    pub fn contains(&self, section: Section, token: u32) -> bool {
        self.has_section(section) && !self.excluded.contains(token)
    }
}

/// Per-row data of a shard at one site, from its tables.
#[derive(Debug)]
pub struct ShardRows {
    /// `[rows]`: ids of the rows' sequences.
    pub sequences: Vec<u64>,
    /// `[rows]`: sections.
    pub sections: Vec<Section>,
    /// `[rows]`: token ids.
    pub tokens: Vec<u32>,
    /// `[rows]`: unscaled Euclidean norms; not finite if an element is not.
    pub norms: Vec<f32>,
}

impl ShardRows {
    /// Reads the tables of a shard. Activations are not read.
    pub fn of(shard: &Shard, site: &SiteName) -> Result<Self, StoreError> {
        let tokens = shard.tokens()?;
        let norms = shard.norms(site)?;
        Ok(Self { sequences: tokens.sequence, sections: tokens.section, tokens: tokens.token, norms })
    }

    /// Whether the shard has no rows.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// The finite norms of selected rows, in order.
    pub fn norms_of<'rows>(&'rows self, rows: &'rows Rows) -> impl Iterator<Item = f32> + 'rows {
        let own = self.sections.iter().zip(&self.tokens).zip(&self.norms);
        own.filter(|((section, token), norm)| norm.is_finite() && rows.contains(**section, **token))
            .map(|(_, norm)| *norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_described_in_words() {
        let (text, rollout) = (SectionChoice::Only(Section::Text), SectionChoice::Only(Section::Rollout));
        let choice = |sections: &[SectionChoice], exclude| RowChoice { sections: sections.to_vec(), exclude };
        assert_eq!(choice(&[], ExcludeChoice::None).to_string(), "all rows");
        assert_eq!(choice(&[SectionChoice::All, text], ExcludeChoice::Bos).to_string(), "all rows but BOS");
        let some = choice(&[text, rollout], ExcludeChoice::Special);
        assert_eq!(some.to_string(), "rows of section text and rollout but special tokens");
        assert!(choice(&[text, SectionChoice::All], ExcludeChoice::None).is_everything());
        assert!(!choice(&[], ExcludeChoice::Bos).is_everything() && !some.is_everything());
    }
}
