//! Tensors shared between threads.

use std::ops::Deref;

use tch::Tensor;

/// An immutable tensor, such as a weight, that threads may read concurrently.
///
/// `tch` tensors are not `Sync`, because a shared reference suffices to modify one in place. A shared tensor and its clones
/// must never be modified. The type system cannot enforce that, so the type is private to this crate.
#[derive(Debug)]
pub(crate) struct SharedTensor(Tensor);

// SAFETY: LibTorch's tensors may be read by any number of threads at once (reference counts are atomic, and operations that
// do not end in `_` leave their inputs alone). No other owner can write to the tensor, because it is moved in here right
// after its creation. No use of a shared tensor writes to it, by the contract above, which this crate keeps: shared tensors
// are only ever operands, and none is handed out.
#[expect(unsafe_code, reason = "tch cannot know that the tensor is never written to")]
unsafe impl Sync for SharedTensor {}

impl From<Tensor> for SharedTensor {
    fn from(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

impl Deref for SharedTensor {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}
