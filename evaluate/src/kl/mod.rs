//! KL(clean ‖ spliced): how far what the model predicts with an SAE in it is from what it predicts untouched.

mod choice;
mod result;
mod sums;
mod untouched;
mod way;

pub use self::choice::KlChoice;
pub use self::result::Kl;
pub use self::sums::KlSums;
pub(crate) use self::untouched::{BatchUntouched, Largest};
pub use self::way::KlWay;
