//! Roles of models and SAEs in an experiment.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The role of an SAE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaeRole {
    /// Trained on the base model.
    Base,
    /// The base SAE, fine-tuned on the chat model's activations.
    Finetuned,
    /// Trained on the chat model.
    Chat,
}

/// The role of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// The pretrained model.
    Base,
    /// Its instruction-tuned version.
    Chat,
}

impl SaeRole {
    /// All roles, in table order.
    pub(crate) const ALL: [Self; 3] = [Self::Base, Self::Finetuned, Self::Chat];

    /// The label in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Base => "base SAE",
            Self::Finetuned => "fine-tuned SAE",
            Self::Chat => "chat SAE",
        }
    }

    /// The role whose name is `name`, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.to_string() == name)
    }
}

impl ModelRole {
    /// Both roles.
    pub(crate) const ALL: [Self; 2] = [Self::Base, Self::Chat];

    /// The label in tables.
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
