//! Metrics of KL divergence.

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use super::method::KlMethod;
use super::sums::KlSums;

/// KL(clean ‖ spliced) of the next-token predictions. Means are over the tokens that the losses cover.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kl {
    /// How it was computed.
    #[serde(flatten)]
    pub method: KlMethod,
    /// Compute precision of the clean logits.
    pub clean_precision: Dtype,
    /// Compute precision of the spliced logits.
    pub spliced_precision: Dtype,
    /// With the SAE's reconstruction spliced in, nats per token.
    pub kl: Option<f64>,
    /// Under zero ablation, nats per token.
    pub kl_ablated: Option<f64>,
    /// (ablated − SAE) / ablated: SAELens's `kl_div_score`. Computed from two bounds it is neither exact nor a bound.
    pub kl_recovered: Option<f64>,
}

impl Kl {
    /// Computes the metrics from sums. They are `None` if the sums do not cover as many tokens as the losses. If no row
    /// was spliced, `kl` and `kl_recovered` are `None`.
    pub fn of(
        sums: Option<KlSums>,
        (loss_tokens, spliced_rows): (u64, u64),
        method: KlMethod,
        (clean, spliced): (Dtype, Dtype),
    ) -> Self {
        let sums = sums.filter(|sums| sums.tokens == loss_tokens).unwrap_or_default();
        let defined = |value: f64| value.is_finite().then_some(value);
        let of_spliced = |value: f64| defined(value).filter(|_| spliced_rows > 0);
        Self {
            method,
            clean_precision: clean,
            spliced_precision: spliced,
            kl: of_spliced(sums.kl / sums.tokens as f64),
            kl_ablated: defined(sums.kl_ablated / sums.tokens as f64),
            kl_recovered: of_spliced((sums.kl_ablated - sums.kl) / sums.kl_ablated),
        }
    }

    /// Describes how it was computed and in what precision.
    pub fn label(&self) -> String {
        let (method, clean, spliced) = (self.method, self.clean_precision, self.spliced_precision);
        if clean == spliced {
            format!("{method} ({clean})")
        } else {
            format!("{method} (clean logits {clean}, spliced {spliced})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F32: (Dtype, Dtype) = (Dtype::F32, Dtype::F32);

    #[test]
    fn figures_are_means_and_the_score_is_saelenss() {
        let mut sums = KlSums { kl_ablated: 8.0, ..KlSums::default() };
        sums.add(&[0.5, 1.5]);
        let kl = Kl::of(Some(sums), (2, 3), KlMethod::Recomputed, F32);
        assert_eq!((kl.kl, kl.kl_ablated, kl.kl_recovered), (Some(1.0), Some(4.0), Some(0.75)));
        assert_eq!(kl.label(), "exact, recomputed (f32)");
        let kl = Kl::of(Some(sums), (2, 0), KlMethod::Recomputed, F32);
        assert_eq!((kl.kl, kl.kl_ablated, kl.kl_recovered), (None, Some(4.0), None), "nothing was spliced");
    }

    #[test]
    fn without_the_tokens_of_the_losses_nothing_is_defined() {
        for (sums, tokens) in [(None, 2), (Some(KlSums { tokens: 1, kl: 1.0, kl_ablated: 1.0 }), 2), (None, 0)] {
            let kl = Kl::of(sums, (tokens, 1), KlMethod::Bound { top_k: 64 }, F32);
            assert_eq!((kl.kl, kl.kl_ablated, kl.kl_recovered), (None, None, None));
        }
    }

    #[test]
    fn two_precisions_are_told_apart() {
        let kl = Kl::of(None, (1, 1), KlMethod::Bound { top_k: 8 }, (Dtype::F32, Dtype::Bf16));
        assert_eq!(kl.label(), "lower bound, from the top 8 (clean logits f32, spliced bf16)");
        let value = serde_json::to_value(kl).unwrap();
        assert_eq!((value["method"].as_str(), value["top_k"].as_u64()), (Some("bound"), Some(8)));
        assert_eq!(serde_json::from_value::<Kl>(value).unwrap(), kl);
    }
}
