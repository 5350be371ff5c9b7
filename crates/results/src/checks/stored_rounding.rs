//! Effect of a lossy codec on the metrics.

use hayloft_store::Codec;
use serde::{Deserialize, Serialize};

/// Rounding of the stored activations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StoredRounding {
    /// The codec.
    pub codec: Codec,
    /// Norm of the rounding error divided by the norm of the activations, over the whole site.
    pub relative_error: f64,
    /// Mean clean loss from the stored activations minus the cached mean, nats. `None` without a model or cached
    /// losses.
    pub ce_effect: Option<f64>,
    /// Tokens that `ce_effect` averages over, from the start of the cache.
    pub loss_tokens: u64,
}

impl StoredRounding {
    /// A one-line description.
    pub fn in_words(&self) -> String {
        let Self { codec, relative_error, ce_effect, loss_tokens } = self;
        let effect = ce_effect.map_or_else(String::new, |effect| {
            format!(
                "; the clean loss computed from them is {effect:+.6} nats off the cached one, over {loss_tokens} tokens"
            )
        });
        format!("Activations are stored as {codec}, with a relative error of {relative_error:.6}{effect}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_error_and_the_effect_where_there_is_one() {
        let mut rounding =
            StoredRounding { codec: Codec::INT8, relative_error: 0.0098, ce_effect: Some(-0.002), loss_tokens: 100 };
        let words = rounding.in_words();
        assert!(words.contains("int8") && words.contains("0.009800") && words.contains("-0.002000 nats"), "{words}");
        rounding.ce_effect = None;
        assert!(!rounding.in_words().contains("nats"));
    }
}
