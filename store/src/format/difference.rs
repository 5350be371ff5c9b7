//! Differences between two records.

use std::fmt::Display;

/// A setting that differs: its name and the two values.
pub(crate) type Difference = (String, String, String);

/// Returns the difference between two values of a field, if any.
pub(crate) fn differ<T: PartialEq + Display>(field: &str, ours: &T, theirs: &T) -> Option<Difference> {
    (ours != theirs).then(|| (field.to_owned(), ours.to_string(), theirs.to_string()))
}
