//! Tensors copied from a checkpoint's mapped files.

use hayloft_checkpoint::{Cut, WeightFiles};
use hayloft_runtime::Dtype;
use tch::{Device, TchError, Tensor};

use crate::compute::kind::kind;
use crate::error::ModelError;

/// Copies a tensor to a device, in the given precision.
pub(crate) fn load(weights: &WeightFiles, name: &str, precision: Dtype, device: Device) -> Result<Tensor, ModelError> {
    let stored = weights.tensor(name)?;
    let shape: Vec<i64> = stored.shape.iter().map(|&size| size as i64).collect();
    let tensor = Tensor::f_from_data_size(stored.bytes, &shape, kind(stored.dtype))?;
    Ok(tensor.f_to_device(device)?.f_to_kind(kind(precision))?)
}

/// A piece of a tensor, contiguous. A partial piece does not keep the whole tensor alive.
pub(crate) fn piece(cut: Cut, tensor: Tensor) -> Result<Tensor, TchError> {
    match cut {
        Cut::Whole => Ok(tensor),
        Cut::Outputs { first, count } => tensor.f_narrow_copy(0, first as i64, count as i64),
        Cut::Transposed { first, count } => {
            tensor.f_narrow(1, first as i64, count as i64)?.f_transpose(0, 1)?.f_contiguous()
        }
        Cut::OfEachHead { heads, place } => {
            let mut shape = tensor.size();
            let head_dim = shape[0] / (3 * heads as i64);
            shape.splice(0..1, [heads as i64, 3, head_dim]);
            tensor.f_view(shape.as_slice())?.f_select(1, place as i64)?.f_flatten(0, 1)?.f_contiguous()
        }
    }
}
