//! KL(clean ‖ spliced): divergence of the spliced run's predictions from the clean run's.

pub(crate) mod method;
pub(crate) mod result;
pub(crate) mod sums;
