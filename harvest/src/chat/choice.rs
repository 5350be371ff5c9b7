//! The choice of chat template.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ChatError;

/// The choice of chat template: the checkpoint's, or one of the study's by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateChoice {
    /// The checkpoint's Jinja template: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`.
    #[default]
    Checkpoint,
    /// The study's for Mistral: `" [INST] {instruction} [/INST] "`.
    Mistral,
    /// The study's for Qwen: ChatML without a system turn.
    Qwen,
    /// The study's for Gemma, in Gemma's turn format.
    Gemma,
}

impl TemplateChoice {
    /// All choices, in order of definition.
    pub const ALL: [Self; 4] = [Self::Checkpoint, Self::Mistral, Self::Qwen, Self::Gemma];

    /// The name in data manifests, in records and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Mistral => "mistral",
            Self::Qwen => "qwen",
            Self::Gemma => "gemma",
        }
    }
}

impl fmt::Display for TemplateChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for TemplateChoice {
    type Err = ChatError;

    fn from_str(text: &str) -> Result<Self, ChatError> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or_else(|| ChatError::ChoiceText { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for choice in TemplateChoice::ALL {
            assert_eq!(choice.as_str().parse::<TemplateChoice>().unwrap(), choice);
            assert_eq!(serde_json::to_string(&choice).unwrap(), format!("\"{choice}\""));
        }
        let message = "llama".parse::<TemplateChoice>().unwrap_err().to_string();
        assert!(message.contains("checkpoint, mistral, qwen or gemma"), "{message}");
    }
}
