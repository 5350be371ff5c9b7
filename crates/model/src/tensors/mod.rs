//! Tensors that threads share, and their numbers in place.

pub(crate) mod shared_tensor;
pub(crate) mod tensor_slice;
