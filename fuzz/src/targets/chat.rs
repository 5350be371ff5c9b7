//! Chat templates, as a checkpoint brings them.

use hayloft_harvest::{ChatTemplate, TemplateChoice};

use crate::guarded::scratch;
use crate::outcome::words;
use crate::{Outcome, seeds};

/// `chat_template.jinja`.
pub(super) fn template(input: &[u8]) -> Outcome {
    let folder = scratch::folder("chat template", seeds::chat::write_special_tokens);
    scratch::write(&folder.join("chat_template.jinja"), input);
    prompt(&folder)
}

/// `tokenizer_config.json`, with a template in it.
pub(super) fn tokenizer_config(input: &[u8]) -> Outcome {
    let folder = scratch::folder("tokenizer config", |_| {});
    scratch::write(&folder.join("tokenizer_config.json"), input);
    prompt(&folder)
}

fn prompt(folder: &std::path::Path) -> Outcome {
    let template = ChatTemplate::open(TemplateChoice::Checkpoint, folder).map_err(words)?;
    drop(template.blake3());
    template.prompt(" Why is hay stored in a loft?\n").map_err(words).map(drop)
}
