//! The part of a sequence that a token belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// The section of a token. Every token is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Running text.
    Text,
    /// A beginning-of-sequence token put in by the packing.
    Bos,
    /// The chat template's own tokens.
    Control,
    /// What the user wrote.
    UserPrompt,
    /// What the model answered.
    Rollout,
    /// The last tokens of a chat sequence, which the study's protocol counts in no section.
    Final,
}

impl Section {
    /// Every section, in the order they are defined.
    pub const ALL: [Self; 6] = [Self::Text, Self::Bos, Self::Control, Self::UserPrompt, Self::Rollout, Self::Final];

    /// The name in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bos => "bos",
            Self::Control => "control",
            Self::UserPrompt => "user_prompt",
            Self::Rollout => "rollout",
            Self::Final => "final",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Section {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|section| section.as_str() == text)
            .ok_or_else(|| StoreError::invalid("section", Self::ALL.map(Self::as_str).join(", "), format!("`{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for section in Section::ALL {
            assert_eq!(section.as_str().parse::<Section>().unwrap(), section);
            assert_eq!(serde_json::to_string(&section).unwrap(), format!("\"{section}\""));
        }
        assert!("prompt".parse::<Section>().is_err());
    }
}
