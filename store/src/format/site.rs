//! Site names. A site is a hook point of the model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// A site name, such as `blocks.13.hook_resid_pre`. It is also the stem of the site's file. It consists of at most 128
/// letters, digits, `_` and `.`, with no leading dot and no two dots in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteName(String);

impl SiteName {
    const MAX_LENGTH: usize = 128;
    const LOGITS: &str = "logits";

    /// Returns the name used for the file of full logits.
    pub(crate) fn logits() -> Self {
        Self(Self::LOGITS.to_owned())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the site's activation file in a shard's folder.
    pub fn file_name(&self) -> String {
        format!("{}.parquet", self.0)
    }
}

impl TryFrom<String> for SiteName {
    type Error = StoreError;

    fn try_from(name: String) -> Result<Self, StoreError> {
        let allowed = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '.';
        let well_formed = !name.is_empty()
            && name.len() <= Self::MAX_LENGTH
            && name.chars().all(allowed)
            && !name.starts_with('.')
            && !name.contains("..");
        // Stems of the shard's other files.
        let taken = matches!(name.as_str(), "sequences" | "tokens" | Self::LOGITS);
        if well_formed && !taken {
            Ok(Self(name))
        } else {
            Err(StoreError::invalid(
                "site name",
                "1 to 128 letters, digits, `_` and single `.`, such as blocks.13.hook_resid_pre",
                format!("`{}`", name.chars().take(2 * Self::MAX_LENGTH).collect::<String>()),
            ))
        }
    }
}

impl FromStr for SiteName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        Self::try_from(name.to_owned())
    }
}

impl From<SiteName> for String {
    fn from(name: SiteName) -> Self {
        name.0
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in
            ["", ".", "..", "a..b", ".hidden", "a/b", "a\\b", "a b", "tokens", "sequences", "logits", &"a".repeat(129)]
        {
            assert!(name.parse::<SiteName>().is_err(), "{name}");
            assert!(serde_json::from_value::<SiteName>(name.into()).is_err(), "{name}");
        }
    }

    #[test]
    fn transformer_lens_names_are_taken() {
        let name: SiteName = "blocks.13.hook_resid_pre".parse().unwrap();
        assert_eq!(name.file_name(), "blocks.13.hook_resid_pre.parquet");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"blocks.13.hook_resid_pre\"");
    }
}
