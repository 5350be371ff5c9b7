//! How close reconstructions are to what they reconstruct, row by row.

use tch::{Device, Kind, TchError, Tensor};

use crate::forward::shared_tensor::SharedTensor;

/// What follows from targets and reconstructions alone, for each row.
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
    /// Of `targets` and `reconstructions`, both `[n, d]` float32.
    pub fn of(targets: &Tensor, reconstructions: &Tensor) -> Result<Self, TchError> {
        Ok(Self {
            errors: squared_norms(&targets.f_sub(reconstructions)?)?,
            target_squares: squared_norms(targets)?,
            reconstruction_squares: squared_norms(reconstructions)?,
            products: row_sums(&targets.f_mul(reconstructions)?)?,
        })
    }

    /// Of the row at a place: ‖x − r‖², ‖x‖², ‖r‖² and x · r.
    pub fn at(&self, place: usize) -> [f32; 4] {
        [self.errors[place], self.target_squares[place], self.reconstruction_squares[place], self.products[place]]
    }
}

/// The mean of targets, which explained variance is measured from.
#[derive(Debug)]
pub struct TargetMean(SharedTensor);

impl TargetMean {
    /// `mean` `[d]`, in the targets' scale.
    pub fn new(mean: &[f32], device: Device) -> Result<Self, TchError> {
        Ok(Self(Tensor::f_from_slice(mean)?.f_to_device(device)?.into()))
    }

    /// `targets` `[n, d]` float32 → ‖x − x̄‖² of each row.
    pub fn squared_deviations(&self, targets: &Tensor) -> Result<Vec<f32>, TchError> {
        squared_norms(&targets.f_sub(&self.0)?)
    }
}

impl From<Tensor> for TargetMean {
    /// Of a mean `[d]` float32, in the targets' scale.
    fn from(mean: Tensor) -> Self {
        Self(mean.copy().into())
    }
}

/// `[n, d]` float32 → the squared Euclidean norm of each row.
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
