//! The SAEs to take from a results file, and what they are called.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of names, or a table from names to labels. Empty for all SAEs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaeNames {
    names: Vec<(String, Option<String>)>,
}

impl SaeNames {
    /// Whether all SAEs are taken.
    pub fn is_all(&self) -> bool {
        self.names.is_empty()
    }

    /// The names in the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// What the report calls an SAE; `None` if it is not taken.
    pub fn label<'own>(&'own self, name: &'own str) -> Option<&'own str> {
        if self.is_all() {
            return Some(name);
        }
        let (name, label) = self.names.iter().find(|(own, _)| own == name)?;
        Some(label.as_deref().unwrap_or(name))
    }
}

impl<'de> Deserialize<'de> for SaeNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = SaeNames;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of SAEs' names, or a table from their names to what they are called")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SaeNames, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push((name, None));
        }
        Ok(SaeNames { names })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<SaeNames, A::Error> {
        let mut names = Vec::new();
        while let Some((name, label)) = table.next_entry()? {
            names.push((name, Some(label)));
        }
        Ok(SaeNames { names })
    }
}
