//! What a reader made of an input.

use std::fmt::Display;

/// Read whole, or refused in these words. Both are as it should be.
pub type Outcome = Result<(), String>;

/// The words of an error.
pub(crate) fn words(error: impl Display) -> String {
    error.to_string()
}
