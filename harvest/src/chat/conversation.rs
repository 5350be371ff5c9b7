//! Tokens of a conversation with their sections.

use std::ops::Range;

use hayloft_model::{SpecialToken, Tokenizer};
use hayloft_store::Section;

use super::message::{Message, Role};
use super::{ChatError, ChatTemplate, CutReply, Prompt};

/// A conversation: messages and the model's last reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The tokens. The first is BOS, unless there is none; no other BOS follows unless the text contains one.
    pub tokens: Vec<u32>,
    /// The section of each token.
    pub sections: Vec<Section>,
    /// The turn of each token, from 0. A reply ends a turn.
    pub turns: Vec<u32>,
    layout: Layout,
}

impl Conversation {
    fn new(tokens: Vec<u32>, layout: Layout) -> Self {
        let (sections, turns) = (layout.sections(tokens.len()), layout.turns(tokens.len()));
        Self { tokens, sections, turns, layout }
    }

    /// Returns the number of prompt tokens: those the model read before its last reply.
    pub fn prompt_length(&self) -> usize {
        self.layout.prompt_end
    }

    /// Truncates to the first `longest` tokens. The last two remaining tokens are `final`.
    pub fn truncate(&mut self, longest: usize) {
        self.tokens.truncate(longest);
        self.turns.truncate(longest);
        self.sections = self.layout.sections(self.tokens.len());
    }
}

/// The parts of a prompt, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    /// Whether the first token is BOS.
    has_bos: bool,
    /// The tokens of each message of the prompt, in order of position.
    messages: Vec<(Role, Range<usize>)>,
    /// Tokens before the last reply.
    prompt_end: usize,
}

/// Builds the tokens of a conversation with their sections. `messages` are those before the last reply.
///
/// **Tokens.** The prompt and a text reply are tokenised as one text, so the tokens match the model's real input. As in
/// transformers, special tokens in the text are recognised. Token ids of a reply are appended to the prompt's tokens
/// unchanged. A BOS in the template is the BOS of the sequence. The token that ended the last turn is not part of the
/// sequence.
///
/// **Parts.** A token belongs to the part of the text in which it ends. A token that joins a template space with the
/// following word belongs to that word.
///
/// **Sections** follow the study: a mask over *input* positions, each of which predicts the next token. soi is the
/// template's tokens before the instruction, including BOS. eoi is the template's tokens after it. i is the position at
/// which eoi starts:
///
/// ```text
/// position   0    1 … len(soi)   len(soi) … i   i … i + len(eoi) − 1   i + len(eoi) − 1 … n − 2   n − 2 … n
/// section    bos  control        user_prompt    control                rollout                    final
/// ```
///
/// The last token of eoi predicts the first reply token and is in `rollout`. The last two tokens of the sequence are
/// always `final`. If the template has no token between instruction and reply, the last instruction token predicts the
/// reply and is in `rollout`.
///
/// The same holds for every turn of several. The token that ends a reply is `control`, and begins the next turn. The
/// tokens of a system message are `system`, wherever the template puts them.
pub fn conversation<'bos>(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: impl Into<Option<&'bos SpecialToken>>,
    messages: &[Message],
    reply: CutReply<'_>,
) -> Result<Conversation, ChatError> {
    let (prompt, bos) = (template.dialogue(messages)?, bos.into());
    let (tokens, layout) = match reply {
        CutReply::Text(text) => encode(template, tokenizer, bos, &prompt, text)?,
        CutReply::Tokens(ids) => {
            let (mut tokens, layout) = encode(template, tokenizer, bos, &prompt, "")?;
            tokens.extend_from_slice(ids);
            (tokens, layout)
        }
    };
    Ok(Conversation::new(tokens, layout))
}

/// Returns the prompt tokens that the model reads before its reply, BOS first.
pub fn prompt_tokens<'bos>(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: impl Into<Option<&'bos SpecialToken>>,
    messages: &[Message],
) -> Result<Vec<u32>, ChatError> {
    Ok(encode(template, tokenizer, bos.into(), &template.dialogue(messages)?, "")?.0)
}

/// Tokenises a prompt and a reply.
fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: Option<&SpecialToken>,
    prompt: &Prompt,
    reply: &str,
) -> Result<(Vec<u32>, Layout), ChatError> {
    // A BOS in the template is tokenised in place, because a tokenizer may treat the start of a text differently.
    let written = prompt.written_bos.as_deref().unwrap_or_default();
    let text = [written, &prompt.text, reply].concat();
    let before_messages = &text[..written.len() + prompt.messages.first().map_or(0, |(_, bytes)| bytes.start)];
    let encoded = tokenizer.encode_with_ends(&text)?;
    let mut tokens = encoded.ids;
    let begins_with_bos = bos.is_some_and(|bos| before_messages.starts_with(&bos.text));
    let differs = match bos {
        Some(bos) if begins_with_bos => tokens.first() != Some(&bos.id),
        _ => !written.is_empty(),
    };
    if differs {
        return Err(ChatError::Bos {
            path: template.path().to_owned(),
            written: written.to_owned(),
            bos: bos.map_or_else(String::new, |bos| bos.text.clone()),
            source_of_bos: bos.map_or_else(|| "bos = \"none\"".to_owned(), |bos| bos.source.clone()),
        });
    }
    let added = bos.filter(|_| !begins_with_bos);
    tokens.splice(0..0, added.map(|bos| bos.id));
    let own = usize::from(added.is_some());
    let up_to = |byte: usize| own + encoded.ends.iter().filter(|end| **end <= written.len() + byte).count();
    let messages = prompt.messages.iter().map(|(role, bytes)| (*role, up_to(bytes.start)..up_to(bytes.end)));
    let layout = Layout { has_bos: bos.is_some(), messages: messages.collect(), prompt_end: up_to(prompt.text.len()) };
    Ok((tokens, layout))
}

impl Layout {
    /// Returns the sections of a sequence of `length` tokens.
    fn sections(&self, length: usize) -> Vec<Section> {
        const FINAL: usize = 2;
        let mut sections = vec![Section::Control; length];
        let mut fill = |tokens: Range<usize>, section| {
            sections[tokens.start.min(length)..tokens.end.min(length)].fill(section);
        };
        for (role, tokens) in &self.messages {
            match role {
                Role::System => fill(tokens.clone(), Section::System),
                Role::User => fill(tokens.clone(), Section::UserPrompt),
                // From the token that predicts the first one of the reply.
                Role::Assistant => fill(tokens.start.saturating_sub(1)..tokens.end, Section::Rollout),
            }
        }
        fill(self.prompt_end.saturating_sub(1)..length.max(self.prompt_end), Section::Rollout);
        fill(length.saturating_sub(FINAL)..length, Section::Final);
        if self.has_bos {
            fill(0..1, Section::Bos);
        }
        sections
    }

    /// Returns the turns of a sequence of `length` tokens: for each, the number of replies before it.
    fn turns(&self, length: usize) -> Vec<u32> {
        let ends = self.messages.iter().filter(|(role, _)| *role == Role::Assistant).map(|(_, tokens)| tokens.end);
        let mut turns = vec![0; length];
        for end in ends {
            turns[end.min(length)..].iter_mut().for_each(|turn| *turn += 1);
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(messages: &[(Role, Range<usize>)], prompt_end: usize) -> Layout {
        Layout { has_bos: true, messages: messages.to_vec(), prompt_end }
    }

    fn letters(layout: &Layout, length: usize) -> String {
        let letter = |section| match section {
            Section::Text => 't',
            Section::Bos => 'b',
            Section::Control => 'c',
            Section::UserPrompt => 'u',
            Section::Rollout => 'r',
            Section::Final => 'f',
            Section::System => 's',
        };
        layout.sections(length).into_iter().map(letter).collect()
    }

    #[test]
    fn sections_are_the_studys_masks() {
        // soi: BOS and two tokens; three instruction tokens; four of eoi; five of the reply.
        let layout = layout(&[(Role::User, 3..6)], 10);
        assert_eq!(letters(&layout, 15), "bccuuucccrrrrff");
        // Replies of two, one and zero tokens.
        assert_eq!(letters(&layout, 12), "bccuuucccrff");
        assert_eq!(letters(&layout, 11), "bccuuucccff");
        assert_eq!(letters(&layout, 10), "bccuuuccff");
        assert_eq!(letters(&Layout { has_bos: false, ..layout }, 12), "cccuuucccrff");
    }

    #[test]
    fn a_template_without_tokens_after_the_instruction_leaves_the_last_one_to_the_rollout() {
        let layout = layout(&[(Role::User, 1..4)], 4);
        assert_eq!(letters(&layout, 8), "buurrrff");
    }

    #[test]
    fn every_turn_has_the_sections_of_one() {
        let turns = [(Role::System, 2..4), (Role::User, 5..7), (Role::Assistant, 9..11), (Role::User, 13..14)];
        let layout = layout(&turns, 16);
        assert_eq!(letters(&layout, 20), "bcsscuucrrrccucrrrff");
        assert_eq!(layout.turns(20), [[0; 11].as_slice(), &[1; 9]].concat());
        // An empty reply among others leaves the token before it.
        let empty = [(Role::User, 2..3), (Role::Assistant, 5..5), (Role::User, 7..8)];
        let layout = Layout { messages: empty.to_vec(), prompt_end: 10, ..layout };
        assert_eq!(letters(&layout, 14), "bcucrccucrrrff");
    }
}
