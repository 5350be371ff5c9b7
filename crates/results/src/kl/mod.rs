//! KL(clean ‖ spliced): how far what the model predicts with an SAE in it is from what it predicts untouched.

pub(crate) mod result;
pub(crate) mod sums;
pub(crate) mod way;
