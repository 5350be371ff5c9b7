//! Training of SAEs.

mod record;

pub use self::record::TrainingRecord;
