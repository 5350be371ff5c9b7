//! The tensors of a safetensors file.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors};
use tch::Kind;

use super::{Entry, Order, Place, Type};

/// Returns the tensors, or the header's problem. Sizes are checked against the file before anything is allocated.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let place = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
        let kind = match view.dtype() {
            Dtype::F32 => Type::Known(Kind::Float),
            Dtype::F64 => Type::Known(Kind::Double),
            Dtype::F16 => Type::Known(Kind::Half),
            Dtype::BF16 => Type::Known(Kind::BFloat16),
            Dtype::I64 => Type::Known(Kind::Int64),
            Dtype::I32 => Type::Known(Kind::Int),
            other => Type::Other(other.to_string()),
        };
        let place = Place::Mapped { start, end: start + view.data().len() };
        (name.to_owned(), Entry::Tensor { kind, shape: view.shape().to_vec(), order: Order::Rows, place })
    };
    Ok(parsed.iter().map(place).collect())
}
