//! A tensor that may be shared between threads.

use std::ops::Deref;

use tch::Tensor;

/// A tensor that is never written to, such as an SAE's decoder, so that threads may read it concurrently.
///
/// `tch` makes tensors `!Sync` because any tensor can be modified in place through a shared reference. A `SharedTensor` and
/// its clones must never be modified. The type system cannot enforce this, so the type is private to this crate.
#[derive(Debug)]
pub(crate) struct SharedTensor(Tensor);

// SAFETY: LibTorch tensors may be read by any number of threads at once (reference counts are atomic, and operations whose
// names do not end in `_` do not modify their inputs). No other owner can write to the tensor, because it is moved in here
// right after its creation. Nothing writes through this type, by the contract above, which every use in this crate keeps:
// shared tensors are only used as operands and are never handed out.
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
