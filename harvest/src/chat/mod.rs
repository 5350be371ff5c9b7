//! From an instruction and its answer to the tokens of a conversation.
//!
//! ```text
//! instruction ─► template ─► prompt ─┐
//!                                    ├─► tokens with sections
//! reply, cut at the end of its turn ─┘
//! ```

mod choice;
mod error;
mod jinja;
mod source;
mod template;

pub use choice::TemplateChoice;
pub use error::ChatError;
pub use template::{ChatTemplate, Prompt};
