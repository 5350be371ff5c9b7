//! KL(clean ‖ spliced): the divergence of the spliced model's predictions from the clean model's.

mod choice;
mod clean_run;

pub use self::choice::KlChoice;
pub(crate) use self::clean_run::{BatchCleanRun, Largest};
