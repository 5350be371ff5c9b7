//! A tensor's numbers in place, where the tensor lies in main memory.

use hayloft_model::{ModelError, floats_of};
use tch::Tensor;

/// The numbers of a contiguous float32 tensor on the CPU, without a copy. The tensor, and every other
/// view of its storage, must stay as it is while the slice is in use.
///
/// # Errors
/// Where the tensor is of another type, on another device, or not contiguous.
#[expect(unsafe_code, reason = "no type says that the tensor stays as it is meanwhile")]
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], ModelError> {
    // SAFETY: this crate writes to tensors in place only where it has just made them and where it trains, and takes slices of
    // neither while it does.
    unsafe { floats_of(tensor) }
}
