//! KL(clean ‖ spliced): the divergence of the spliced model's predictions from the clean model's.

mod choice;
mod untouched;

pub use self::choice::KlChoice;
pub(crate) use self::untouched::{BatchCleanRun, Largest};
