//! Training SAEs on cached activations.
//!
//! ```text
//! cache ─► batches, mixed in bounded memory ─► c · residual ─► model ─► losses ─► gradients ─► Adam
//!                                                               │                              │
//!                                              SAELens's layout ◄── checkpoint ◄───────────────┘
//! ```
//!
//! [`train`] begins with random weights, [`finetune`] with an SAE that is there. Losses, initial weights and schedules are
//! those of SAELens 6.54.12, so that its coefficients can be taken over.
//!
//! A training that was killed goes on from its last checkpoint to the same weights, bit for bit, on the same machine and
//! device and with the same number of threads. With another number, LibTorch may add in another order.

mod adam;
mod architecture;
mod checkpoint;
mod course;
mod data;
mod error;
mod finetune;
mod firing;
mod foreword;
mod generator;
mod held_out;
mod log;
mod model;
mod provenance;
mod record;
mod save;
mod schedule;
mod scratch;
mod selection;
mod session;
mod summary;
mod tensor_file;
mod threshold;
mod trainer;

pub use architecture::{Architecture, Penalty};
pub use course::{Course, Existing};
pub use data::Mixing;
pub use error::TrainError;
pub use finetune::{Coefficients, Evaluation, FinetuneSettings, Finetuned, finetune};
pub use held_out::HeldOutFigures;
pub use record::TrainingRecord;
pub use scratch::{Centring, Space, TrainSettings, train};
pub use summary::{HeldOutSequences, TrainingSummary};
pub use threshold::ThresholdSource;
