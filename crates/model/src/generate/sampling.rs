//! How the next token is chosen.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// How the next token is chosen from the logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method", deny_unknown_fields)]
pub enum Sampling {
    /// The token with the largest logit; of equal ones that with the lowest id.
    Greedy,
    /// A random token of the nucleus: the fewest most likely tokens whose probabilities add up to `top_p`. (Holtzman
    /// et al. 2020, "The Curious Case of Neural Text Degeneration"; as in transformers, the token that reaches `top_p`
    /// is in.)
    ///
    /// Probabilities are the softmax of logits / temperature, computed in float64. Tokens are ranked by logit, equal
    /// ones by id, and the one is taken at which the sum of probabilities, in that order, exceeds u times the nucleus's
    /// mass. u is a hash of seed, row and the number of tokens that the row has taken.
    Random {
        /// Above 0; 1 leaves the model's own probabilities.
        temperature: f64,
        /// Above 0, at most 1; 1 leaves every token in.
        top_p: f64,
        /// What decides the random numbers.
        seed: u64,
    },
}

impl Sampling {
    /// Refuses temperatures and masses that mean nothing.
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
