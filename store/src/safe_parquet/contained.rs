//! Turns panics of the Parquet crate into errors.

use std::panic::{self, AssertUnwindSafe};

use parquet::errors::Result;

use super::wrong;

/// Runs the Parquet crate on untrusted bytes.
///
/// Its decoders unwrap, index and divide where the bytes of a page do not match its header. Fuzzing found five such
/// places, none of which an option turns into an error. Those that a page's header reveals are rejected before (see
/// `pages.rs`). Detecting the rest would need the decoded levels, and so a second decoder. Nothing that `work` captures
/// is used after a panic.
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
