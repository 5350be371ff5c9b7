//! The rounding error of a lossy codec.

use serde::{Deserialize, Serialize};

/// Quantisation error over the finite rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundingError {
    /// Sum of the squared differences of all elements.
    pub squared_error: f64,
    /// Sum of the squares of all original elements.
    pub squares: f64,
}

impl RoundingError {
    /// Adds the sums of the rows that follow.
    pub(crate) fn add(&mut self, next: Self) {
        self.squared_error += next.squared_error;
        self.squares += next.squares;
    }

    /// Returns the norm of the error relative to the norm of the original; 0 if the latter is 0.
    pub fn relative(&self) -> f64 {
        if self.squares > 0.0 { (self.squared_error / self.squares).sqrt() } else { 0.0 }
    }
}
