//! Tokens that end the assistant's turn, and cutting a reply at them.

use hayloft_model::{FinishReason, ModelError, SpecialToken, Tokenizer};

use super::{ChatTemplate, CutReply, Reply};

/// The tokens that end the assistant's turn. A reply is cut before the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndOfTurn {
    tokens: Vec<SpecialToken>,
    /// Whether an unended reply loses its last character.
    drop_last_character: bool,
}

impl EndOfTurn {
    /// Finds the tokens: the token `named`, which `source` gives, if any. Otherwise the tokenizer's end-of-sequence
    /// tokens and the first special token that the template writes after the reply.
    pub fn find(
        named: Option<&str>,
        source: &str,
        template: &ChatTemplate,
        tokenizer: &Tokenizer,
    ) -> Result<Self, ModelError> {
        if let Some(text) = named {
            return Ok(Self { tokens: vec![tokenizer.token(text, source)?], drop_last_character: false });
        }
        let mut tokens = tokenizer.eos()?;
        let after = tokenizer.encode_with_ends(template.after_reply())?;
        let mut start = 0;
        for (id, end) in after.ids.into_iter().zip(after.ends) {
            let text = template.after_reply().get(start..end).unwrap_or_default();
            start = end;
            if tokenizer.is_special(text) {
                if tokens.iter().all(|token| token.id != id) {
                    let source = "what the chat template writes after a reply".to_owned();
                    tokens.push(SpecialToken { id, text: text.to_owned(), source });
                }
                break;
            }
        }
        Ok(Self { tokens, drop_last_character: false })
    }

    /// Sets the study's quirk: an unended reply loses its last character.
    #[must_use]
    pub fn dropping_last_character(self, wanted: bool) -> Self {
        Self { drop_last_character: wanted, ..self }
    }

    /// Returns the tokens. If no file names one, the list is empty and no reply is cut.
    pub fn tokens(&self) -> &[SpecialToken] {
        &self.tokens
    }

    /// Returns the reply before the end of the turn, and whether the turn ended.
    pub fn cut<'reply>(&self, reply: &'reply Reply) -> (CutReply<'reply>, bool) {
        match reply {
            Reply::Text(text) => {
                let (said, ended) = self.cut_text(text);
                (CutReply::Text(said), ended)
            }
            Reply::Tokens { text, ids, finish_reason } => {
                let end = ids.iter().position(|id| self.tokens.iter().any(|token| token.id == *id));
                let ended = end.is_some() || *finish_reason == FinishReason::Stop;
                if self.drop_last_character && !ended {
                    // A character may be part of a token, so the shortened text is tokenised again, as in the study.
                    return (CutReply::Text(self.cut_text(text).0), false);
                }
                (CutReply::Tokens(&ids[..end.unwrap_or(ids.len())]), ended)
            }
        }
    }

    fn cut_text<'text>(&self, text: &'text str) -> (&'text str, bool) {
        let end = self.tokens.iter().filter_map(|token| text.find(&token.text)).min();
        if let Some(end) = end {
            return (&text[..end], true);
        }
        let last = text.char_indices().last().filter(|_| self.drop_last_character);
        (last.map_or(text, |(start, _)| &text[..start]), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> EndOfTurn {
        let token = |id, text: &str| SpecialToken { id, text: text.to_owned(), source: String::new() };
        EndOfTurn { tokens: vec![token(2, "</s>"), token(9, "<|im_end|>")], drop_last_character: false }
    }

    fn text(end: &EndOfTurn, text: &str) -> (String, bool) {
        let reply = Reply::Text(text.to_owned());
        match end.cut(&reply) {
            (CutReply::Text(said), ended) => (said.to_owned(), ended),
            (CutReply::Tokens(_), _) => unreachable!("a text was given"),
        }
    }

    #[test]
    fn a_text_is_cut_where_its_turn_ends_first() {
        assert_eq!(text(&end(), "Hay.<|im_end|></s></s></s"), ("Hay.".to_owned(), true));
        assert_eq!(text(&end(), "</s>Hay."), (String::new(), true));
        assert_eq!(text(&end(), "Hay</s"), ("Hay</s".to_owned(), false));
        assert_eq!(text(&end(), ""), (String::new(), false));
    }

    #[test]
    fn the_studys_quirk_drops_a_character_of_what_never_ended() {
        let quirk = end().dropping_last_character(true);
        assert_eq!(text(&quirk, "Hay.</s>"), ("Hay.".to_owned(), true));
        assert_eq!(text(&quirk, "Heué"), ("Heu".to_owned(), false));
        assert_eq!(text(&quirk, ""), (String::new(), false));
    }

    #[test]
    fn tokens_are_cut_by_their_ids() {
        let reply =
            |ids: &[u32], finish_reason| Reply::Tokens { text: "Hay.".to_owned(), ids: ids.to_vec(), finish_reason };
        for (ids, reason, expected) in [
            (&[5, 6, 9, 7][..], FinishReason::Length, (CutReply::Tokens(&[5, 6]), true)),
            (&[5, 6], FinishReason::Stop, (CutReply::Tokens(&[5, 6]), true)),
            (&[5, 6], FinishReason::Context, (CutReply::Tokens(&[5, 6]), false)),
            (&[], FinishReason::Stop, (CutReply::Tokens(&[]), true)),
        ] {
            assert_eq!(end().cut(&reply(ids, reason)), expected);
        }
        let quirk = end().dropping_last_character(true);
        assert_eq!(quirk.cut(&reply(&[5, 6], FinishReason::Length)), (CutReply::Text("Hay"), false));
        assert_eq!(quirk.cut(&reply(&[5, 6], FinishReason::Stop)), (CutReply::Tokens(&[5, 6]), true));
    }
}
