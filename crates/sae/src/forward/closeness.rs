//! Per-row distances between targets and reconstructions.

use tch::{Device, Kind, TchError, Tensor};

use crate::forward::shared_tensor::SharedTensor;

/// Per-row statistics of targets x and reconstructions r.
#[derive(Debug)]
pub struct Closeness {
    /// ‖x − r‖².
    pub errors: Vec<f32>,
    /// ‖x‖².
    pub target_squares: Vec<f32>,
    /// ‖r‖².
    pub reconstruction_squares: Vec<f32>,
    /// x · r.
    pub products: Vec<f32>,
}

impl Closeness {
    /// Computes the statistics of `targets` and `reconstructions`, both `[n, d]` float32.
    pub fn of(targets: &Tensor, reconstructions: &Tensor) -> Result<Self, TchError> {
        Ok(Self {
            errors: squared_norms(&targets.f_sub(reconstructions)?)?,
            target_squares: squared_norms(targets)?,
            reconstruction_squares: squared_norms(reconstructions)?,
            products: row_sums(&targets.f_mul(reconstructions)?)?,
        })
    }

    /// The statistics of one row: ‖x − r‖², ‖x‖², ‖r‖² and x · r.
    pub fn at(&self, place: usize) -> [f32; 4] {
        [self.errors[place], self.target_squares[place], self.reconstruction_squares[place], self.products[place]]
    }
}

/// The mean of the targets, the baseline of explained variance.
#[derive(Debug)]
pub struct TargetMean(SharedTensor);

impl TargetMean {
    /// Creates it from `mean` `[d]`, in the targets' scale.
    pub fn new(mean: &[f32], device: Device) -> Result<Self, TchError> {
        Ok(Self(Tensor::f_from_slice(mean)?.f_to_device(device)?.into()))
    }

    /// Maps `targets` `[n, d]` float32 to ‖x − x̄‖² of each row.
    pub fn squared_deviations(&self, targets: &Tensor) -> Result<Vec<f32>, TchError> {
        squared_norms(&targets.f_sub(&self.0)?)
    }
}

impl From<Tensor> for TargetMean {
    /// Copies a mean `[d]` float32, in the targets' scale.
    fn from(mean: Tensor) -> Self {
        Self(mean.copy().into())
    }
}

/// Squared Euclidean norm of each row of `[n, d]` float32.
fn squared_norms(rows: &Tensor) -> Result<Vec<f32>, TchError> {
    row_sums(&rows.f_square()?)
}

fn row_sums(rows: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(rows.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers are exact")]
    fn figures_of_a_row_agree_with_values_by_hand() {
        let row = |values: &[f32]| Tensor::from_slice(values).unsqueeze(0);
        let of =
            |target: &[f32], reconstruction: &[f32]| Closeness::of(&row(target), &row(reconstruction)).unwrap().at(0);
        assert_eq!(of(&[3.0, 4.0], &[4.0, 3.0]), [2.0, 25.0, 25.0, 24.0]);
        assert!(of(&[f32::NAN, 4.0], &[4.0, 3.0])[0].is_nan());
        let mean = TargetMean::new(&[1.0, 1.0], Device::Cpu).unwrap();
        assert_eq!(mean.squared_deviations(&row(&[3.0, 4.0])).unwrap(), [13.0]);
    }
}
