//! Sections: which part of a sequence a token belongs to.

use std::fmt;
use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// The section of a token. Each token is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Plain text.
    Text,
    /// A beginning-of-sequence token inserted by the packing.
    Bos,
    /// A token of the chat template.
    Control,
    /// A token of the user's prompt.
    UserPrompt,
    /// A token of the model's answer.
    Rollout,
    /// The last tokens of a chat sequence, which the study protocol assigns to no section.
    Final,
    /// A token of the system message.
    System,
}

impl Section {
    /// All sections, in order of definition.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Bos, Self::Control, Self::UserPrompt, Self::Rollout, Self::Final, Self::System];

    /// Returns the name used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bos => "bos",
            Self::Control => "control",
            Self::UserPrompt => "user_prompt",
            Self::Rollout => "rollout",
            Self::Final => "final",
            Self::System => "system",
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
        Self::ALL.into_iter().find(|section| section.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str);
            StoreError::invalid("section", known.join(", "), format!("`{text}`{}", did_you_mean(text, known)))
        })
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
