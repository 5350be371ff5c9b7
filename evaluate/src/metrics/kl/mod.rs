//! KL(clean ‖ spliced): how far what the model predicts with an SAE in it is from what it predicts untouched.

mod choice;
mod untouched;

pub use self::choice::KlChoice;
pub(crate) use self::untouched::{BatchCleanRun, Largest};
