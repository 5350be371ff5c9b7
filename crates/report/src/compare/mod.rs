//! Compares measured rows with expected ones, cell by cell.

mod cells;
mod error;
mod read;
mod table;
mod tolerance;

pub use self::cells::{Cell, Comparison, Verdict, compare};
pub use self::error::CompareError;
pub use self::read::{Record, read_expected, read_results};
pub use self::tolerance::{Tolerance, Tolerances};
