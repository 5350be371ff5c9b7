//! Running one input so that a panic is a result.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::guarded::allocator;
use crate::{Outcome, Target};

/// A reader that panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where, as `file:line`.
    pub place: String,
    /// What it said.
    pub message: String,
}

thread_local! {
    static LAST_PANIC: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Bytes in a mebibyte.
const MIB: usize = 1 << 20;

/// Feeds an input to a target within its memory.
///
/// # Errors
/// The panic. An allocation beyond the target's memory ends the process.
pub fn guarded(target: &Target, input: &[u8]) -> Result<Outcome, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| panic::set_hook(Box::new(note)));
    // What a target makes once for itself is not the input's.
    allocator::limit(target.allowed_mib * MIB, input.len());
    let ran = panic::catch_unwind(AssertUnwindSafe(|| (target.read)(input)));
    allocator::unlimited();
    ran.map_err(|_| {
        let unknown = Failure { place: "unknown".to_owned(), message: "a panic on another thread".to_owned() };
        LAST_PANIC.take().unwrap_or(unknown)
    })
}

fn note(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    let payload = panic.payload();
    let words =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = words.unwrap_or("no message").to_owned();
    LAST_PANIC.set(Some(Failure { place, message }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(read: fn(&[u8]) -> Outcome) -> Target {
        Target { name: "test", read, allowed_mib: 1 }
    }

    #[test]
    fn a_panic_is_told_with_its_place() {
        let _alone = allocator::ALONE.lock().unwrap();
        let panics = target(|input| panic!("{} bytes", input.len()));
        let failure = guarded(&panics, b"hay").unwrap_err();
        assert_eq!(failure.message, "3 bytes");
        assert!(failure.place.contains("guard.rs:"), "{}", failure.place);
        let reads = target(|_| Ok(()));
        assert_eq!(guarded(&reads, b"hay"), Ok(Ok(())));
    }
}
