//! Messages before the first step and after the last.

pub(crate) mod foreword;
pub(crate) mod summary;
