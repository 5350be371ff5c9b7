//! Schedules of the learning rate and the sparsity coefficient.

/// Linear warm-up and decay. Steps count from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) steps: u64,
    pub(crate) learning_rate: f64,
    pub(crate) warm_up: u64,
    pub(crate) decay: u64,
    /// Coefficient of the sparsity loss after warm-up.
    pub(crate) coefficient: f64,
    pub(crate) sparsity_warm_up: u64,
}

impl Schedule {
    /// The learning rate of a step: linear warm-up from `rate / warm_up`, constant, and linear decay that would reach zero
    /// one step after the last. This is SAELens's `constant` schedule.
    pub(crate) fn learning_rate(&self, step: u64) -> f64 {
        let decay_begins = self.steps.saturating_sub(self.decay);
        let factor = if step < self.warm_up {
            (step + 1) as f64 / self.warm_up as f64
        } else if step >= decay_begins {
            self.steps.saturating_sub(step) as f64 / self.decay.max(1) as f64
        } else {
            1.0
        };
        self.learning_rate * factor
    }

    /// The sparsity coefficient of a step: linear warm-up from zero, as in SAELens.
    pub(crate) fn coefficient(&self, step: u64) -> f64 {
        if step < self.sparsity_warm_up {
            self.coefficient * step as f64 / self.sparsity_warm_up as f64
        } else {
            self.coefficient
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden values of SAELens's `get_lr_scheduler` and `CoefficientScheduler`, written by scripts/goldens/training.py.
    #[test]
    fn rates_and_weights_agree_with_saelens() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../../tests/fixtures/training/schedule.json")).unwrap();
        let cases = golden.as_array().unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            let whole = |name: &str| case[name].as_u64().unwrap();
            let schedule = Schedule {
                steps: whole("steps"),
                learning_rate: case["learning_rate"].as_f64().unwrap(),
                warm_up: whole("warm_up"),
                decay: whole("decay"),
                coefficient: case["coefficient"].as_f64().unwrap(),
                sparsity_warm_up: whole("sparsity_warm_up"),
            };
            for step in 0..schedule.steps {
                let expected = |name: &str| case[name][step as usize].as_f64().unwrap();
                let close = |got: f64, expected: f64| (got - expected).abs() <= 1e-12 * expected.abs().max(1e-3);
                let (rate, weight) = (schedule.learning_rate(step), schedule.coefficient(step));
                assert!(close(rate, expected("learning_rates")), "{case} {step}: {rate}");
                assert!(close(weight, expected("coefficients")), "{case} {step}: {weight}");
            }
        }
    }
}
