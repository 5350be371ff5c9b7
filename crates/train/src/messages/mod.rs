//! What a training says before its first step and after its last.

pub(crate) mod foreword;
pub(crate) mod summary;
