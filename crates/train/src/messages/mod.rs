//! Messages before the first step and after the last.

pub(crate) mod row_messages;
pub(crate) mod summary;
