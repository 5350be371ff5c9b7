//! Rows of a cache by what they are, whatever their activations.

use std::fmt;

use hayloft_store::{Cache, Section, Shard, SiteName, StoreError};
use serde::{Deserialize, Serialize};

use crate::error::RowsError;
use crate::exclusion::{ExcludeChoice, Excluded};
use crate::section_choice::SectionChoice;

/// Which rows: those of some sections, without some tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChoice {
    /// Those of any of these sections; empty means of all.
    pub sections: Vec<SectionChoice>,
    /// Those of these tokens are left out.
    pub exclude: ExcludeChoice,
}

impl RowChoice {
    /// Whether it leaves none out.
    pub fn is_everything(&self) -> bool {
        self.exclude == ExcludeChoice::None && self.has_all_sections()
    }

    /// The same on one cache. `special` gives the special tokens of its tokenizer: see [`Excluded::of`].
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

/// Which rows of one cache.
#[derive(Debug, Clone)]
pub struct Rows {
    sections: Vec<SectionChoice>,
    /// The tokens that are left out.
    pub excluded: Excluded,
}

impl Rows {
    /// Those of any of these sections (empty means of all), without some tokens.
    pub fn new(sections: Vec<SectionChoice>, excluded: Excluded) -> Self {
        Self { sections, excluded }
    }

    /// Those of all sections, without some tokens.
    pub fn of_any_section(excluded: Excluded) -> Self {
        Self { sections: Vec::new(), excluded }
    }

    /// Whether rows of a section are among them, tokens that are left out apart.
    pub fn has_section(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|choice| choice.contains(section))
    }

    /// Whether a row of this section and token is among them.
    pub fn contains(&self, section: Section, token: u32) -> bool {
        self.has_section(section) && !self.excluded.contains(token)
    }
}

/// What the tables say of a shard's rows at one site.
#[derive(Debug)]
pub struct ShardRows {
    /// `[rows]`: the id of the row's sequence.
    pub sequences: Vec<u64>,
    /// `[rows]`.
    pub sections: Vec<Section>,
    /// `[rows]`.
    pub tokens: Vec<u32>,
    /// `[rows]`: Euclidean norms in the model's own space; not finite where an element is not.
    pub norms: Vec<f32>,
}

impl ShardRows {
    /// Reads the tables of a shard, and no activations.
    pub fn of(shard: &Shard, site: &SiteName) -> Result<Self, StoreError> {
        let tokens = shard.tokens()?;
        let norms = shard.norms(site)?;
        Ok(Self { sequences: tokens.sequence, sections: tokens.section, tokens: tokens.token, norms })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// The finite norms of rows that are among some, in order.
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
    fn rows_are_told_in_words() {
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
