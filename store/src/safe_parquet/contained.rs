//! Panics of the Parquet crate as errors.

use std::panic::{self, AssertUnwindSafe};

use parquet::errors::Result;

use super::wrong;

/// Runs the Parquet crate on bytes that somebody may have made up.
///
/// Its decoders unwrap, index and divide where the bytes of a page do not fit its header; fuzzing found five such places,
/// none of which an option turns into an error. Those that can be told from a page's header are refused before (see
/// `pages.rs`); the rest needs the decoded levels, and so a second decoder. Nothing that `work` was given is used again
/// after a panic.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(wrong(format!("bytes that no writer of Parquet writes ({})", text.unwrap_or("no more is known"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let divisor = [0].iter().copied().max().unwrap_or(1);
        let error = contained(|| Ok(1 / divisor)).unwrap_err().to_string();
        assert!(error.contains("divide by zero"), "{error}");
        assert_eq!(contained(|| Ok(1)).unwrap(), 1);
    }
}
