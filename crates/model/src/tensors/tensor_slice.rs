//! A tensor's numbers in place, where the tensor lies in main memory.
//!
//! A tensor has other owners: a clone or a view of it writes to the same numbers, in safe code, while a slice of them is in use. So
//! slices are for this crate alone, which never does that, and for callers that promise it:
//!
//! ```compile_fail,E0133
//! let tensor = tch::Tensor::from_slice(&[1.0f32]);
//! let numbers = hayloft_model::floats_of(&tensor)?; // not without `unsafe`
//! # Ok::<(), hayloft_model::ModelError>(())
//! ```

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// The numbers of a contiguous float32 tensor on the CPU, without a copy. The tensor, and every other
/// view of its storage, must stay as it is while the slice is in use.
///
/// # Errors
/// Where the tensor is of another type, on another device, or not contiguous.
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], ModelError> {
    check(tensor, Some(Kind::Float))?;
    Ok(view(tensor, tensor.numel()))
}

/// The same for other crates.
///
/// # Errors
/// Where the tensor is of another type, on another device, or not contiguous.
///
/// # Safety
/// The tensor, its clones and other views of its storage must not be written to while the slice is in use.
#[expect(unsafe_code, reason = "the caller promises what no type says")]
pub unsafe fn floats_of(tensor: &Tensor) -> Result<&[f32], ModelError> {
    floats(tensor)
}

/// Puts the bytes of a contiguous tensor on the CPU behind others; the words are little-endian.
///
/// # Errors
/// Where the tensor is on another device, or not contiguous.
pub fn append_bytes(tensor: &Tensor, to: &mut Vec<u8>) -> Result<(), ModelError> {
    to.extend_from_slice(bytes(tensor)?);
    Ok(())
}

/// The bytes of a contiguous tensor on the CPU, without a copy; the words are in the machine's order, which is
/// little-endian on every machine that LibTorch is built for. The tensor must stay as it is while the slice is in use.
///
/// # Errors
/// Where the tensor is on another device, or not contiguous.
pub(crate) fn bytes(tensor: &Tensor) -> Result<&[u8], ModelError> {
    check(tensor, None)?;
    Ok(view(tensor, tensor.numel() * tensor.f_kind()?.elt_size_in_bytes()))
}

fn check(tensor: &Tensor, expected: Option<Kind>) -> Result<(), ModelError> {
    let kind = tensor.f_kind()?;
    if tensor.device() == Device::Cpu && tensor.is_contiguous() && expected.is_none_or(|expected| expected == kind) {
        return Ok(());
    }
    let expected = expected.map_or_else(String::new, |kind| format!("{kind:?} "));
    let got = (kind, tensor.device(), tensor.size());
    Err(ModelError::Input { problem: format!("expected a contiguous {expected}tensor in main memory, got {got:?}") })
}

/// The first `count` elements of a tensor that [`check`] has passed, as plain numbers of the same or a smaller type.
#[expect(unsafe_code, reason = "tch has no view of a tensor's memory")]
fn view<Number: Copy>(tensor: &Tensor, count: usize) -> &[Number] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the tensor is contiguous and on the CPU, so its first element is followed by all others; the callers ask for
    // just its bytes or its float32 numbers, types that admit every bit pattern and need no more alignment than the
    // tensor's own. The slice borrows the tensor, which keeps the storage alive. That none of it changes meanwhile is
    // the contract of the functions that hand the slice out; LibTorch's operations write only to their outputs.
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
        assert!(floats(&wide.to_kind(Kind::Double)).unwrap_err().to_string().contains("Float"));
    }
}
