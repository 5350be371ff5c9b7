//! Per-row terms of the metrics on activations.

/// A smaller norm is not used as a denominator, as in SAELens.
const SMALLEST_NORM: f64 = 1e-4;

/// The terms that one row adds to the sums. x is the SAE's target: its scaled input, or the target of a transcoder.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RowTerms {
    /// Number of latents above zero.
    pub latents: i64,
    /// The sum of the latents.
    pub l1: f32,
    /// ‖x − r‖².
    pub squared_error: f32,
    /// ‖x − x̄‖².
    pub squared_deviation: f32,
    /// ‖x‖².
    pub target_square: f32,
    /// ‖r‖².
    pub reconstruction_square: f32,
    /// x · r.
    pub product: f32,
}

impl RowTerms {
    /// Builds the terms from the number and the sum of latents, ‖x − x̄‖², and `[‖x − r‖², ‖x‖², ‖r‖², x · r]`.
    pub fn new((latents, l1): (i64, f32), squared_deviation: f32, closeness: [f32; 4]) -> Self {
        let [squared_error, target_square, reconstruction_square, product] = closeness;
        Self { latents, l1, squared_error, squared_deviation, target_square, reconstruction_square, product }
    }

    /// Cosine similarity of x and r; 0 if either is zero.
    pub fn cosine(&self) -> f64 {
        let norms = self.target_norm() * self.reconstruction_norm();
        if norms > 0.0 { f64::from(self.product) / norms } else { 0.0 * norms }
    }

    /// ‖r‖ / ‖x‖, or ‖r‖ if ‖x‖ is too small to divide by.
    pub fn norm_ratio(&self) -> f64 {
        let norm = self.target_norm();
        self.reconstruction_norm() / if norm < SMALLEST_NORM { 1.0 } else { norm }
    }

    fn target_norm(&self) -> f64 {
        f64::from(self.target_square).sqrt()
    }

    fn reconstruction_norm(&self) -> f64 {
        f64::from(self.reconstruction_square).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(target: &[f32], reconstruction: &[f32]) -> RowTerms {
        let of = |pair: &dyn Fn(f32, f32) -> f32| target.iter().zip(reconstruction).map(|(x, r)| pair(*x, *r)).sum();
        let closeness = [of(&|x, r| (x - r) * (x - r)), of(&|x, _| x * x), of(&|_, r| r * r), of(&|x, r| x * r)];
        RowTerms::new((0, 0.0), 0.0, closeness)
    }

    #[test]
    fn terms_agree_with_values_by_hand() {
        let row = terms(&[3.0, 4.0], &[4.0, 3.0]);
        assert_eq!(
            (row.squared_error, row.target_square, row.reconstruction_square, row.product),
            (2.0, 25.0, 25.0, 24.0)
        );
        assert!((row.cosine() - 0.96).abs() < 1e-12 && (row.norm_ratio() - 1.0).abs() < 1e-12);
        let row = terms(&[3.0, 4.0], &[-6.0, -8.0]);
        assert!((row.cosine() + 1.0).abs() < 1e-12 && (row.norm_ratio() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_direction_has_no_cosine_and_what_is_too_short_is_no_denominator() {
        assert_eq!(terms(&[3.0, 4.0], &[0.0, 0.0]).cosine().to_bits(), 0f64.to_bits());
        let row = terms(&[0.0, 0.0], &[3.0, 4.0]);
        assert_eq!((row.cosine().to_bits(), row.norm_ratio().to_bits()), (0f64.to_bits(), 5f64.to_bits()));
        assert!((terms(&[0.000_05, 0.0], &[3.0, 4.0]).norm_ratio() - 5.0).abs() < 1e-12);
        assert!((terms(&[0.000_5, 0.0], &[3.0, 4.0]).norm_ratio() - 10_000.0).abs() < 1.0);
    }

    #[test]
    fn what_is_not_a_number_does_not_get_lost() {
        let row = terms(&[f32::NAN, 4.0], &[4.0, 3.0]);
        assert!(row.cosine().is_nan() && row.norm_ratio().is_nan());
    }
}
