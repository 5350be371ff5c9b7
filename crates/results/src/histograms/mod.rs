//! Histograms: by position in the sequence, by norm, by latent.
//!
//! All are counts and sums in bins with fixed borders, so that parts merge exactly.

mod bins;
mod latents;
mod norms;
mod positions;

pub use self::bins::BinSums;
pub use self::latents::{LatentCounts, LatentSummary};
pub use self::norms::NORM_BINS;
pub use self::norms::NormHistogram;
pub use self::positions::position_bin;
pub use self::positions::{POSITION_BINS, PositionCounts, PositionSums, first_position};
