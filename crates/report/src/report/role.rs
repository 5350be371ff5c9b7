//! The parts that models and SAEs play in the experiment.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which SAE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaeRole {
    /// Trained on the base model.
    Base,
    /// The base SAE, trained further on the chat model's activations.
    Finetuned,
    /// Trained on the chat model.
    Chat,
}

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// The pretrained one.
    Base,
    /// The one that was made of it to follow instructions.
    Chat,
}

impl SaeRole {
    /// All of them, in the order of tables.
    pub(crate) const ALL: [Self; 3] = [Self::Base, Self::Finetuned, Self::Chat];

    /// In words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Base => "base SAE",
            Self::Finetuned => "fine-tuned SAE",
            Self::Chat => "chat SAE",
        }
    }

    /// The role of an SAE that is called by its role.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.to_string() == name)
    }
}

impl ModelRole {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Base, Self::Chat];

    /// In words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Base => "base model",
            Self::Chat => "chat model",
        }
    }
}

impl fmt::Display for SaeRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Base => "base",
            Self::Finetuned => "finetuned",
            Self::Chat => "chat",
        })
    }
}

impl fmt::Display for ModelRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Base => "base",
            Self::Chat => "chat",
        })
    }
}
