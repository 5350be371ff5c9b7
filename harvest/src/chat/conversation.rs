//! Tokens of a conversation with their sections.

use hayloft_model::{SpecialToken, Tokenizer};
use hayloft_store::Section;

use super::{ChatError, ChatTemplate, CutReply, Prompt};

/// One user turn and the model's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The tokens. The first is BOS; no other BOS follows unless the text contains one.
    pub tokens: Vec<u32>,
    /// The section of each token.
    pub sections: Vec<Section>,
    counts: Counts,
}

impl Conversation {
    /// Returns the number of prompt tokens: those the model read before its reply.
    pub fn prompt_length(&self) -> usize {
        self.counts.prompt_end
    }

    /// Truncates to the first `longest` tokens. The last two remaining tokens are `final`.
    pub fn truncate(&mut self, longest: usize) {
        self.tokens.truncate(longest);
        self.sections = self.counts.sections(self.tokens.len());
    }
}

/// Token counts of the parts of a prompt, as the study defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Tokens before the instruction, including BOS: `len(soi)`.
    start: usize,
    /// Tokens up to the end of the instruction: `i`.
    instruction_end: usize,
    /// Tokens before the reply: `i + len(eoi)`.
    prompt_end: usize,
}

/// Builds the tokens of a conversation with their sections.
///
/// **Tokens.** The prompt and a text reply are tokenised as one text, so the tokens match the model's real input. As in
/// transformers, special tokens in the text are recognised. Token ids of a reply are appended to the prompt's tokens
/// unchanged. A BOS in the template is the BOS of the sequence. The token that ended the turn is not part of the
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
pub fn conversation(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    instruction: &str,
    reply: CutReply<'_>,
) -> Result<Conversation, ChatError> {
    let prompt = template.prompt(instruction)?;
    let (tokens, counts) = match reply {
        CutReply::Text(text) => encode(template, tokenizer, bos, &prompt, text)?,
        CutReply::Tokens(ids) => {
            let (mut tokens, counts) = encode(template, tokenizer, bos, &prompt, "")?;
            tokens.extend_from_slice(ids);
            (tokens, counts)
        }
    };
    Ok(Conversation { sections: counts.sections(tokens.len()), tokens, counts })
}

/// Returns the prompt tokens that the model reads before its reply, BOS first.
pub fn prompt_tokens(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    instruction: &str,
) -> Result<Vec<u32>, ChatError> {
    Ok(encode(template, tokenizer, bos, &template.prompt(instruction)?, "")?.0)
}

/// Tokenises a prompt and a reply.
fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    bos: &SpecialToken,
    prompt: &Prompt,
    reply: &str,
) -> Result<(Vec<u32>, Counts), ChatError> {
    // A BOS in the template is tokenised in place, because a tokenizer may treat the start of a text differently.
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
    /// Returns the sections of a sequence of `length` tokens.
    fn sections(self, length: usize) -> Vec<Section> {
        (0..length).map(|position| self.section(position, length)).collect()
    }

    /// Returns the section of a position in a sequence of `length` tokens.
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
        // soi: BOS and two tokens; three instruction tokens; four of eoi; five of the reply.
        let counts = Counts { start: 3, instruction_end: 6, prompt_end: 10 };
        assert_eq!(letters(counts, 15), "bccuuucccrrrrff");
        // Replies of two, one and zero tokens.
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
