//! Slice access to tensors in main memory.

use hayloft_model::{ModelError, floats_of};
use tch::Tensor;

/// Returns the elements of a contiguous float32 CPU tensor without copying. The tensor and all views of its storage must not
/// be modified while the slice is in use.
///
/// # Errors
/// If the tensor has another dtype, is on another device, or is not contiguous.
#[expect(unsafe_code, reason = "no type says that the tensor stays as it is meanwhile")]
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], ModelError> {
    // SAFETY: this crate writes to tensors in place only right after their creation and during training, and holds no slices
    // of those tensors while it does.
    unsafe { floats_of(tensor) }
}
