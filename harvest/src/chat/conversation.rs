//! The tokens of a conversation, each with its section.

use hayloft_model::{SpecialToken, Tokenizer};
use hayloft_store::Section;

use super::{ChatError, ChatTemplate, Prompt};

/// One user turn and what the model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The tokens; the first is BOS, and no other BOS follows it unless the text spells one out.
    pub tokens: Vec<u32>,
    /// The section of each.
    pub sections: Vec<Section>,
    counts: Counts,
}

impl Conversation {
    /// How many of its tokens are the prompt: what the model read before it wrote.
    pub fn prompt_length(&self) -> usize {
        self.counts.prompt_end
    }

    /// Leaves the first `longest` tokens; those that are the last two now are `final`.
    pub fn truncate(&mut self, longest: usize) {
        self.tokens.truncate(longest);
        self.sections = self.counts.sections(self.tokens.len());
    }
}

/// What was said before the turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech<'reply> {
    /// A text, which is tokenised in its place after the prompt.
    Text(&'reply str),
    /// Tokens, which are taken as they are.
    Tokens(&'reply [u32]),
}

/// How many tokens the parts of a prompt take, as the study counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Tokens before the instruction, BOS among them: `len(soi)`.
    start: usize,
    /// Tokens before the template's after the instruction: `i`.
    instruction_end: usize,
    /// Tokens before the reply: `i + len(eoi)`.
    prompt_end: usize,
}

/// The tokens of a conversation with their sections.
///
/// **Tokens.** The prompt and a reply that is text are tokenised as one text, so that tokens are those that a model would
/// really read; as in transformers, a special token that the text spells out is recognised. Token ids are appended to the
/// prompt's tokens as they are. A BOS that the template writes is the one that begins the sequence. The token that ended
/// the turn is not part of the sequence.
///
/// **Parts.** A token belongs to the part of the text in which it ends. So a space of the template that is one token with
/// the word after it counts with that word.
///
/// **Sections** are those of the study, a mask over *input* positions, each predicting the next token. With soi the
/// template's tokens before the instruction, BOS among them, eoi those after it, and i the position where eoi starts:
///
/// ```text
/// position   0    1 … len(soi)   len(soi) … i   i … i + len(eoi) − 1   i + len(eoi) − 1 … n − 2   n − 2 … n
/// section    bos  control        user_prompt    control                rollout                    final
/// ```
///
/// The last token of eoi, which predicts the first of the reply, is in `rollout`; the last two of the sequence are `final`,
/// whatever else they would be. Where the template puts no token between instruction and reply, it is the instruction's
/// last token that predicts the reply, and is in `rollout`.
pub fn conversation(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    instruction: &str,
    reply: Speech<'_>,
) -> Result<Conversation, ChatError> {
    let prompt = template.prompt(instruction)?;
    let (tokens, counts) = match reply {
        Speech::Text(text) => encode(template, tokenizer, bos, &prompt, text)?,
        Speech::Tokens(ids) => {
            let (mut tokens, counts) = encode(template, tokenizer, bos, &prompt, "")?;
            tokens.extend_from_slice(ids);
            (tokens, counts)
        }
    };
    Ok(Conversation { sections: counts.sections(tokens.len()), tokens, counts })
}

/// The tokens that a model reads before it answers, BOS first.
pub fn prompt_tokens(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    instruction: &str,
) -> Result<Vec<u32>, ChatError> {
    Ok(encode(template, tokenizer, bos, &template.prompt(instruction)?, "")?.0)
}

/// Tokens of a prompt and a reply.
fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    prompt: &Prompt,
    reply: &str,
) -> Result<(Vec<u32>, Counts), ChatError> {
    // What the template itself wrote is tokenised where it stands: a tokenizer may treat the beginning of a text in a way
    // of its own.
    let written = prompt.written_bos.as_deref().unwrap_or_default();
    let text = [written, &prompt.text, reply].concat();
    let before_instruction = &text[..written.len() + prompt.instruction.start];
    let begins_with_bos = before_instruction.starts_with(&bos.text);
    let encoded = tokenizer.encode_with_ends(&text)?;
    let mut tokens = encoded.ids;
    let own = usize::from(!begins_with_bos);
    if begins_with_bos && tokens.first() != Some(&bos.id) || !begins_with_bos && !written.is_empty() {
        return Err(ChatError::Bos {
            path: template.path().to_owned(),
            written: written.to_owned(),
            bos: bos.text.clone(),
            source_of_bos: bos.source.clone(),
        });
    }
    tokens.splice(0..0, std::iter::repeat_n(bos.id, own));
    let up_to = |byte: usize| own + encoded.ends.iter().filter(|end| **end <= written.len() + byte).count();
    let counts = Counts {
        start: up_to(prompt.instruction.start),
        instruction_end: up_to(prompt.instruction.end),
        prompt_end: up_to(prompt.text.len()),
    };
    Ok((tokens, counts))
}

impl Counts {
    /// The sections of a sequence of `length` tokens.
    fn sections(self, length: usize) -> Vec<Section> {
        (0..length).map(|position| self.section(position, length)).collect()
    }

    /// The section of a position in a sequence of `length` tokens.
    fn section(self, position: usize, length: usize) -> Section {
        const FINAL: usize = 2;
        if position == 0 {
            Section::Bos
        } else if position + FINAL >= length {
            Section::Final
        } else if position + 1 >= self.prompt_end {
            Section::Rollout
        } else if (self.start..self.instruction_end).contains(&position) {
            Section::UserPrompt
        } else {
            Section::Control
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(counts: Counts, length: usize) -> String {
        let letter = |position| match counts.section(position, length) {
            Section::Text => 't',
            Section::Bos => 'b',
            Section::Control => 'c',
            Section::UserPrompt => 'u',
            Section::Rollout => 'r',
            Section::Final => 'f',
        };
        (0..length).map(letter).collect()
    }

    #[test]
    fn sections_are_the_studys_masks() {
        // soi: BOS and two tokens; three of the instruction; eoi of four; five of the reply.
        let counts = Counts { start: 3, instruction_end: 6, prompt_end: 10 };
        assert_eq!(letters(counts, 15), "bccuuucccrrrrff");
        // A reply of two tokens, of one, and none.
        assert_eq!(letters(counts, 12), "bccuuucccrff");
        assert_eq!(letters(counts, 11), "bccuuucccff");
        assert_eq!(letters(counts, 10), "bccuuuccff");
    }

    #[test]
    fn a_template_without_tokens_after_the_instruction_leaves_the_last_one_to_the_rollout() {
        let counts = Counts { start: 1, instruction_end: 4, prompt_end: 4 };
        assert_eq!(letters(counts, 8), "buurrrff");
    }
}
