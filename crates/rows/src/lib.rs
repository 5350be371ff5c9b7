//! Selection of cache rows: sections, excluded tokens, outlier rule and median, scale.
//!
//! ```text
//! tables of a shard ──► section, token, norm of each row ──► RowChoice, OutlierRule ──► kept, excluded, outlier, not finite
//! ```
//!
//! [`stream`] draws batches of the rows that are kept.

mod error;
mod exclusion;
mod kept_norms;
mod outliers;
mod ranked;
mod rows;
mod scale;
mod section_choice;
pub mod stream;
mod training_origin;

pub use error::RowsError;
pub use exclusion::{ExcludeChoice, Excluded};
pub use kept_norms::{mean_norm, median_norm};
pub use outliers::{LeftOut, MedianRule, OutlierNorm, OutlierRule, OutlierThreshold, Verdict};
pub use ranked::{at_rank, lower_middle};
pub use rows::{RowChoice, Rows, ShardRows};
pub use scale::{Scale, ScaleChoice, ScaleRule, ScaleSource};
pub use section_choice::SectionChoice;
pub use training_origin::{OtherOutliers, TrainedRows, TrainingOrigin};
