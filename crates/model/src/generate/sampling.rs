//! Sampling settings.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// How the next token is chosen from the logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method", deny_unknown_fields)]
pub enum Sampling {
    /// The token with the largest logit. Ties go to the lowest id.
    Greedy,
    /// Nucleus sampling: a random token from the smallest set of most likely tokens whose probabilities add up to `top_p`.
    /// (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration"; as in transformers, the token that reaches
    /// `top_p` is included.)
    ///
    /// Probabilities are the softmax of logits / temperature in float64. Tokens are ranked by logit, ties by id. The chosen
    /// token is the first at which the cumulative probability exceeds u times the nucleus's mass, where u is a hash of seed,
    /// row and the number of tokens that the row has taken.
    Random {
        /// Above 0. 1 leaves the model's probabilities unchanged.
        temperature: f64,
        /// Above 0, at most 1. 1 keeps every token.
        top_p: f64,
        /// Seed of the random numbers.
        seed: u64,
    },
}

impl Sampling {
    /// Refuses invalid values of temperature and `top_p`.
    pub fn check(self) -> Result<(), ModelError> {
        let Self::Random { temperature, top_p, seed: _ } = self else { return Ok(()) };
        let wrong = |name, expected, got| {
            Err(ModelError::Input { problem: format!("{name}: expected a number {expected}, got {got}") })
        };
        if !(temperature.is_finite() && temperature > 0.0) {
            return wrong("temperature", "above 0", temperature);
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return wrong("top-p", "above 0 and at most 1", top_p);
        }
        Ok(())
    }
}
