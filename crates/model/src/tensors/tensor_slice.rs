//! Slices of tensors in host memory.
//!
//! Safe code can write to the same storage through a clone or a view of the tensor while a slice is in use. Slices are
//! therefore private to this crate, which never does that, and `unsafe` for other callers:
//!
//! ```compile_fail,E0133
//! let tensor = tch::Tensor::from_slice(&[1.0f32]);
//! let numbers = hayloft_model::floats_of(&tensor)?; // not without `unsafe`
//! # Ok::<(), hayloft_model::ModelError>(())
//! ```

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// The elements of a contiguous float32 tensor on the CPU, without a copy. The tensor and all views of its storage must not
/// change while the slice is in use.
///
/// # Errors
/// If the tensor has another type, is on another device or is not contiguous.
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], ModelError> {
    check(tensor, Some(Kind::Float))?;
    Ok(view(tensor, tensor.numel()))
}

/// As `floats`, for other crates.
///
/// # Errors
/// If the tensor has another type, is on another device or is not contiguous.
///
/// # Safety
/// The tensor, its clones and other views of its storage must not be written to while the slice is in use.
#[expect(unsafe_code, reason = "the caller promises what no type says")]
pub unsafe fn floats_of(tensor: &Tensor) -> Result<&[f32], ModelError> {
    floats(tensor)
}

/// Appends the bytes of a contiguous tensor on the CPU to `to`, as little-endian words.
///
/// # Errors
/// If the tensor is on another device or not contiguous.
pub fn append_bytes(tensor: &Tensor, to: &mut Vec<u8>) -> Result<(), ModelError> {
    to.extend_from_slice(bytes(tensor)?);
    Ok(())
}

/// The bytes of a contiguous tensor on the CPU, without a copy. Words are in native byte order, which is little-endian on
/// every platform of LibTorch. The tensor must not change while the slice is in use.
///
/// # Errors
/// If the tensor is on another device or not contiguous.
pub(crate) fn bytes(tensor: &Tensor) -> Result<&[u8], ModelError> {
    check(tensor, None)?;
    Ok(view(tensor, tensor.numel() * tensor.f_kind()?.elt_size_in_bytes()))
}

fn check(tensor: &Tensor, expected: Option<Kind>) -> Result<(), ModelError> {
    let kind = tensor.f_kind()?;
    if tensor.device() == Device::Cpu && tensor.is_contiguous() && expected.is_none_or(|expected| expected == kind) {
        return Ok(());
    }
    let expected = if expected == Some(Kind::Float) { "float32 " } else { "" };
    let place = if tensor.device() == Device::Cpu { "main memory" } else { "a GPU's memory" };
    let order = if tensor.is_contiguous() { "contiguous" } else { "not contiguous" };
    let problem = format!(
        "expected a contiguous {expected}tensor in main memory, got one of {} bytes an element in {place}, {order}",
        kind.elt_size_in_bytes()
    );
    Err(ModelError::Input { problem })
}

/// The first `count` elements of a tensor that passed [`check`], as numbers of the same or a smaller type.
#[expect(unsafe_code, reason = "tch has no view of a tensor's memory")]
fn view<Number: Copy>(tensor: &Tensor, count: usize) -> &[Number] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the tensor is contiguous and on the CPU, so that all elements follow the first one. Callers view it only as
    // bytes or as float32, types that admit every bit pattern and need no more alignment than the tensor's own. The slice
    // borrows the tensor, which keeps the storage alive. That the storage does not change meanwhile is the contract of the
    // functions that return the slice; LibTorch's operations write only to their outputs.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<Number>(), count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_are_those_of_the_tensor() {
        let tensor = Tensor::from_slice(&[1.0f32, -2.5, 3.0]);
        assert_eq!(floats(&tensor).unwrap(), [1.0, -2.5, 3.0]);
        assert_eq!(bytes(&tensor.narrow(0, 1, 1)).unwrap(), (-2.5f32).to_le_bytes());
        let mut behind = vec![7];
        append_bytes(&tensor.narrow(0, 1, 1), &mut behind).unwrap();
        assert_eq!(behind[1..], (-2.5f32).to_le_bytes());
        assert!(floats(&Tensor::zeros([0], (Kind::Float, Device::Cpu))).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_lie_in_order_or_is_of_another_type_is_refused() {
        let wide = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        assert!(floats(&wide.tr()).unwrap_err().to_string().contains("contiguous"));
        assert!(bytes(&wide.tr()).is_err());
        assert!(floats(&wide.to_kind(Kind::Double)).unwrap_err().to_string().contains("float32"));
    }
}
