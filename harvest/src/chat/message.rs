//! The messages of a conversation.

use hayloft_runtime::words::did_you_mean;

/// The role of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The user's words.
    User,
    /// A reply of the model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The role.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Role {
    /// Names of roles: those of `messages`, and those of `ShareGPT`'s `conversations`.
    const NAMES: [(&'static str, Self); 9] = [
        ("system", Self::System),
        ("user", Self::User),
        ("human", Self::User),
        ("prompter", Self::User),
        ("assistant", Self::Assistant),
        ("gpt", Self::Assistant),
        ("model", Self::Assistant),
        ("chatgpt", Self::Assistant),
        ("bot", Self::Assistant),
    ];

    /// Returns the name that chat templates use.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    /// Returns the role with this name in a dataset. An error lists the known names.
    pub(crate) fn of(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, role)| role);
        found.ok_or_else(|| {
            let known = Self::NAMES.map(|(known, _)| known);
            format!("expected a role among {}, got {name:?}{}", known.join(", "), did_you_mean(name, known))
        })
    }
}

impl Message {
    /// Creates a message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}
