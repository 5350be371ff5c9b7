//! What a codec that rounds does to the figures: how far activations are from what the model made, and how far a clean
//! loss computed from them is from the loss that the harvest saw.

use hayloft_store::Codec;
use serde::{Deserialize, Serialize};

use crate::EvaluateError;
use crate::compute_effect::sample_rows;
use crate::section_choice::SectionChoice;
use crate::source::Source;
use crate::subject::Subject;
use crate::upper_half::UpperHalf;

/// The rounding of the activations that figures were computed from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StoredRounding {
    /// How they are stored.
    pub codec: Codec,
    /// The norm of all that was rounded away over the norm of all activations of the site.
    pub relative_error: f64,
    /// Mean clean loss computed from the stored activations, less the cache's, in nats; `None` without a model or without
    /// cached losses.
    pub ce_effect: Option<f64>,
    /// The tokens that `ce_effect` is a mean over: the first of the cache.
    pub loss_tokens: u64,
}

/// Measures it; `None` where the codec is lossless.
pub(crate) fn measure(
    subject: &Subject,
    source: Source<'_>,
    upper_half: Option<&UpperHalf>,
) -> Result<Option<StoredRounding>, EvaluateError> {
    let Some(rounding) = subject.point.input.rounding else { return Ok(None) };
    let (mut difference, mut tokens) = (0.0, 0);
    if let Some(upper_half) = upper_half {
        for batch in source.first(sample_rows(subject))? {
            let rows = batch.counted(SectionChoice::All);
            let Some(cached) = batch.losses_at(&rows) else { break };
            let activations = batch.to_device(source)?;
            let computed = upper_half.losses(&batch, &upper_half.clean(&activations)?, &rows)?;
            difference +=
                computed.iter().zip(&cached).map(|(now, then)| f64::from(*now) - f64::from(*then)).sum::<f64>();
            tokens += rows.len() as u64;
        }
    }
    Ok(Some(StoredRounding {
        codec: subject.cache.manifest().codec,
        relative_error: rounding.relative(),
        ce_effect: (tokens > 0).then(|| difference / tokens as f64),
        loss_tokens: tokens,
    }))
}

impl StoredRounding {
    /// One line, to stand beside figures.
    pub(crate) fn in_words(&self) -> String {
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
            StoredRounding { codec: Codec::Int8, relative_error: 0.0098, ce_effect: Some(-0.002), loss_tokens: 100 };
        let words = rounding.in_words();
        assert!(words.contains("int8") && words.contains("0.009800") && words.contains("-0.002000 nats"), "{words}");
        rounding.ce_effect = None;
        assert!(!rounding.in_words().contains("nats"));
    }
}
