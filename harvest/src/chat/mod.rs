//! Builds the tokens of a conversation from its messages and the last reply.
//!
//! ```text
//! messages    ─► template ─► prompt ─┐
//!                                    ├─► tokens with sections
//! reply, cut at the end of its turn ─┘
//! ```

mod choice;
mod conversation;
mod end_of_turn;
mod error;
mod jinja;
mod message;
mod reply;
mod template;
mod template_source;

pub use choice::TemplateChoice;
pub use conversation::{Conversation, conversation, prompt_tokens};
pub use end_of_turn::EndOfTurn;
pub use error::ChatError;
pub use message::{Message, Role};
pub use reply::{CutReply, Reply};
pub use template::{ChatTemplate, Prompt};
