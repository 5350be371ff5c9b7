//! A tensor that several threads may read.

use std::ops::Deref;

use tch::Tensor;

/// A tensor that is never written to again, such as a weight: many threads may read it at once.
///
/// `tch` marks tensors as not shareable because any of them may be changed in place through a shared reference. Nobody
/// may do that to one of these, nor to a clone of one: which no type can say, so that they are this crate's alone.
#[derive(Debug)]
pub(crate) struct SharedTensor(Tensor);

// SAFETY: LibTorch's tensors may be read by any number of threads at once (reference counts are atomic, and operations
// that do not end in `_` leave their inputs alone). The tensor is out of reach of other owners' writes because it is moved
// in here when it has just been made, and out of reach of writes through here by the contract above, which every use in
// this crate keeps: shared tensors are only ever operands, and none is handed out.
#[expect(unsafe_code, reason = "tch cannot know that nobody writes to this tensor")]
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
