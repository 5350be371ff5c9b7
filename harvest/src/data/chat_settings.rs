//! The `[chat]` table of a data manifest: how rows become conversations.

use serde::{Deserialize, Serialize};

use super::FieldPath;
use crate::chat::TemplateChoice;

/// How rows become conversations. `data-manifests/README.md` describes the keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatSettings {
    /// The chat template.
    pub template: TemplateChoice,
    /// The field that holds the instruction.
    pub instruction_field: FieldPath,
    /// The field that holds what the model answered.
    pub rollout_field: FieldPath,
    /// The text of the token that ends the assistant's turn; by default what the tokenizer and the template say.
    pub end_of_turn: Option<String>,
    /// What becomes of a row that cannot be used.
    pub unusable_rows: UnusableRows,
    /// Whether a rollout that never ended its turn loses its last character, as in the study's code.
    pub study_quirk_drop_last_character: bool,
}

/// What becomes of a row whose prompt fills the context, or whose instruction is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnusableRows {
    /// It is an error.
    #[default]
    Refuse,
    /// It is passed over and counted.
    Skip,
}

impl UnusableRows {
    /// The name in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            template: TemplateChoice::default(),
            instruction_field: FieldPath::known("instruction"),
            rollout_field: FieldPath::known("rollout"),
            end_of_turn: None,
            unusable_rows: UnusableRows::default(),
            study_quirk_drop_last_character: false,
        }
    }
}
