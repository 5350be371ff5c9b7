//! Matrix-product rate of this machine: the ceiling of a forward pass.

use std::time::{Duration, Instant};

use hayloft_runtime::Dtype;
use tch::{Cuda, Device, Kind, Tensor};

use crate::compute::in_order::{Jobs, in_order};
use crate::compute::kind::kind;
use crate::error::ModelError;

/// Rows and columns of the matrices: large enough for full speed, small enough for many repetitions.
const SIZE: i64 = 1024;

const MEASURE_FOR: Duration = Duration::from_millis(500);

/// Measures large matrix products of a precision, in FLOP/s, with the kernels and workers of the forward pass. Takes half a
/// second.
pub fn matrix_product_rate(precision: Dtype, device: Device) -> Result<f64, ModelError> {
    let matrix = || Tensor::f_ones([SIZE, SIZE], (Kind::Float, device))?.f_to_kind(kind(precision));
    let start = Instant::now();
    let make = |jobs: &mut Jobs<()>| {
        while start.elapsed() < MEASURE_FOR && jobs.send(()).is_ok() {}
        Ok(())
    };
    let work = |()| {
        let (left, right) = (matrix()?, matrix()?);
        let start = Instant::now();
        for _ in 0..4 {
            let _ = left.f_mm(&right)?;
        }
        wait(device);
        Ok::<_, ModelError>(start.elapsed().as_secs_f64())
    };
    let mut seconds = Vec::new();
    in_order(device, make, work, |taken| {
        seconds.push(taken);
        Ok(())
    })?;
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    Ok(4.0 * 2.0 * (SIZE * SIZE * SIZE) as f64 / median * crate::workers(device) as f64)
}

/// Waits for the queued kernels of a GPU.
fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}
