//! Which activations count as outliers.

/// Rows with a norm above a threshold, and rows with NaN or infinity in them, are outliers: no figure is computed from
/// them, and in the spliced run they keep their own activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OutlierRule {
    /// In the model's own units: a threshold on the scaled activation, divided by the scale.
    threshold: Option<f64>,
}

/// What a rule says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Kept,
    Outlier,
    NonFinite,
}

impl OutlierRule {
    /// The rule for a threshold on `scale` times the residual.
    pub(crate) fn new(threshold: Option<f64>, scale: f64) -> Self {
        Self { threshold: threshold.map(|threshold| threshold / scale) }
    }

    /// The threshold in the model's own units.
    pub(crate) fn threshold(self) -> Option<f64> {
        self.threshold
    }

    /// What it says of a row of this norm, in the model's own units.
    pub(crate) fn judge(self, norm: f64) -> Verdict {
        match self.threshold {
            _ if !norm.is_finite() => Verdict::NonFinite,
            Some(threshold) if norm > threshold => Verdict::Outlier,
            _ => Verdict::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_strict_and_on_the_scaled_activation() {
        let rule = OutlierRule::new(Some(10.0), 4.0);
        assert_eq!(rule.judge(2.5), Verdict::Kept);
        assert_eq!(rule.judge(2.5 + 1e-7), Verdict::Outlier);
    }

    #[test]
    fn what_is_not_finite_is_never_kept() {
        for threshold in [None, Some(1.0)] {
            for norm in [f64::NAN, f64::INFINITY] {
                assert_eq!(OutlierRule::new(threshold, 1.0).judge(norm), Verdict::NonFinite);
            }
        }
        assert_eq!(OutlierRule::new(None, 1.0).judge(1e300), Verdict::Kept);
    }
}
