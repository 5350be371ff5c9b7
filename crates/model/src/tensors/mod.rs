//! Loaded and shared tensors and slices of tensors.

pub(crate) mod load;
pub(crate) mod shared_tensor;
pub(crate) mod tensor_slice;
