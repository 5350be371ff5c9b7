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
    /// The field that holds the model's reply.
    pub rollout_field: FieldPath,
    /// The field that holds a list of messages, in place of an instruction and a reply.
    pub messages_field: Option<FieldPath>,
    /// The text of the token that ends the assistant's turn; by default from the tokenizer and the template.
    pub end_of_turn: Option<String>,
    /// How unusable rows are treated.
    pub unusable_rows: UnusableRows,
    /// Whether an unended rollout loses its last character, as in the study's code.
    pub study_quirk_drop_last_character: bool,
}

/// Treatment of a row whose prompt fills the context or whose instruction is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnusableRows {
    /// Return an error.
    #[default]
    Refuse,
    /// Skip and count the row.
    Skip,
}

impl UnusableRows {
    /// Returns the name used in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

impl ChatSettings {
    /// Returns the key of the data manifest and the field that hold the prompt.
    pub(super) fn prompt_field(&self) -> (&'static str, &FieldPath) {
        match &self.messages_field {
            Some(field) => ("chat.messages_field", field),
            None => ("chat.instruction_field", &self.instruction_field),
        }
    }
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            template: TemplateChoice::default(),
            instruction_field: FieldPath::known("instruction"),
            rollout_field: FieldPath::known("rollout"),
            messages_field: None,
            end_of_turn: None,
            unusable_rows: UnusableRows::default(),
            study_quirk_drop_last_character: false,
        }
    }
}
