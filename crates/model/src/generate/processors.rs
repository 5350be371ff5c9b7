//! Logits processors, as in transformers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Changes to a row's logits before its next token is chosen, with the names and semantics of transformers'
/// `GenerationConfig`. The default changes nothing.
///
/// The processors depend only on the tokens of the row, prompt included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogitsProcessors {
    /// Divides positive logits of tokens already in the row by this factor and multiplies negative ones by it. (Keskar et
    /// al. 2019, "CTRL".)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// No n-gram of this size occurs twice in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_repeat_ngram_size: Option<usize>,
    /// Token sequences that never occur.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Minimum number of tokens, prompt included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// Minimum number of new tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_new_tokens: Option<usize>,
    /// Tokens that are never chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suppress_tokens: Vec<u32>,
    /// Tokens that are not chosen first after the prompt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub begin_suppress_tokens: Vec<u32>,
}

impl LogitsProcessors {
    /// Whether they change no logits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses an invalid penalty.
    pub fn check(&self) -> Result<(), ModelError> {
        match self.repetition_penalty.filter(|penalty| !(penalty.is_finite() && *penalty > 0.0)) {
            None => Ok(()),
            Some(got) => {
                Err(ModelError::Input { problem: format!("repetition penalty: expected a number above 0, got {got}") })
            }
        }
    }

    /// Factor by which the processors may magnify the rounding error of a logit.
    pub(super) fn spread(&self) -> f64 {
        let penalty = self.repetition_penalty.unwrap_or(1.0);
        penalty.max(1.0 / penalty)
    }

    /// Processes the logits `[vocab]` of a row with these `tokens`, the first `prompt_length` of which are its prompt. The
    /// row ends at `stop_tokens`.
    pub(super) fn apply(&self, logits: &mut [f32], tokens: &[u32], prompt_length: usize, stop_tokens: &[u32]) {
        if let Some(penalty) = self.repetition_penalty {
            let penalty = penalty as f32;
            for token in tokens.iter().collect::<BTreeSet<_>>() {
                if let Some(logit) = logits.get_mut(*token as usize) {
                    *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
                }
            }
        }
        let mut ban = |token: u32| {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        };
        if let Some(size) = self.no_repeat_ngram_size.filter(|size| *size > 0) {
            let newest = tokens.len().checked_sub(size - 1).map(|start| &tokens[start..]);
            let runs = tokens.windows(size).filter(|run| Some(&run[..size - 1]) == newest);
            runs.for_each(|run| ban(run[size - 1]));
        }
        for word in &self.bad_words_ids {
            if let Some((last, before)) = word.split_last()
                && tokens.ends_with(before)
            {
                ban(*last);
            }
        }
        let new = tokens.len() - prompt_length;
        // `min_new_tokens` overrides `min_length`, as in transformers.
        let is_short = match self.min_new_tokens {
            Some(least) => new < least,
            None => self.min_length.is_some_and(|least| tokens.len() < least),
        };
        if is_short {
            for token in stop_tokens {
                ban(*token);
            }
        }
        for token in &self.suppress_tokens {
            ban(*token);
        }
        if new == 0 {
            for token in &self.begin_suppress_tokens {
                ban(*token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "logits are whole numbers, and what is banned is infinite")]

    use super::*;

    const NEVER: f32 = f32::NEG_INFINITY;

    /// Processes logits −2 to 3 for a row of these tokens, the first two of which are its prompt.
    fn processed(processors: &LogitsProcessors, tokens: &[u32]) -> [f32; 6] {
        let mut logits = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0];
        processors.apply(&mut logits, tokens, 2, &[5]);
        logits
    }

    #[test]
    fn each_processor_does_what_it_says() {
        let none = LogitsProcessors::default();
        assert!(none.is_empty() && none.spread().to_bits() == 1.0_f64.to_bits());
        assert_eq!(processed(&none, &[0, 1]), [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]);
        let penalty = LogitsProcessors { repetition_penalty: Some(2.0), ..none.clone() };
        assert_eq!(processed(&penalty, &[0, 0, 4, 9]), [-4.0, -1.0, 0.0, 1.0, 1.0, 3.0]);
        assert!((LogitsProcessors { repetition_penalty: Some(0.5), ..none.clone() }.spread() - 2.0).abs() < 1e-12);
        let bigrams = LogitsProcessors { no_repeat_ngram_size: Some(2), ..none.clone() };
        assert_eq!(processed(&bigrams, &[3, 4, 3, 1, 3]), [-2.0, NEVER, 0.0, 1.0, NEVER, 3.0]);
        assert_eq!(processed(&bigrams, &[3, 4]), [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]);
        let singles = LogitsProcessors { no_repeat_ngram_size: Some(1), ..none.clone() };
        assert_eq!(processed(&singles, &[3, 4]), [-2.0, -1.0, 0.0, NEVER, NEVER, 3.0]);
        let words = LogitsProcessors { bad_words_ids: vec![vec![0], vec![4, 1, 2], vec![1, 1, 1, 3]], ..none.clone() };
        assert_eq!(processed(&words, &[4, 1]), [NEVER, -1.0, NEVER, 1.0, 2.0, 3.0]);
        let first = LogitsProcessors { suppress_tokens: vec![1, 77], begin_suppress_tokens: vec![3], ..none.clone() };
        assert_eq!(processed(&first, &[0, 0]), [-2.0, NEVER, 0.0, NEVER, 2.0, 3.0]);
        assert_eq!(processed(&first, &[0, 0, 0]), [-2.0, NEVER, 0.0, 1.0, 2.0, 3.0]);
        let long = LogitsProcessors { min_length: Some(4), ..none.clone() };
        assert_eq!([2, 3, 4].map(|length| processed(&long, &[0; 4][..length])[5]), [NEVER, NEVER, 3.0]);
        let new = LogitsProcessors { min_new_tokens: Some(1), min_length: Some(9), ..none };
        assert_eq!([2, 3].map(|length| processed(&new, &[0; 3][..length])[5]), [NEVER, 3.0]);
    }
}
