//! LibTorch's number types.

use hayloft_runtime::Dtype;
use tch::Kind;

/// The LibTorch kind of a number type.
pub fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::F16 => Kind::Half,
    }
}
