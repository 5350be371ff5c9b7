//! LibTorch's names of number types.

use hayloft_runtime::Dtype;
use tch::Kind;

/// LibTorch's name of a number type.
pub fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::F16 => Kind::Half,
    }
}
