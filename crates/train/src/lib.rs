//! Training of SAEs on cached activations.
//!
//! ```text
//! cache ─► batches, mixed in bounded memory ─► c · residual ─► model ─► losses ─► gradients ─► Adam
//!                                                               │                              │
//!                                              SAELens's layout ◄── checkpoint ◄───────────────┘
//! ```
//!
//! [`train`] starts from random weights, [`Finetuning`] from an existing SAE. Losses, initial weights and schedules are those of
//! SAELens 6.54.12, so its coefficients can be used unchanged.
//!
//! An interrupted training resumes from its last checkpoint to bit-identical weights, on the same machine and device and with
//! the same number of threads. With another number of threads, LibTorch may sum in a different order.

mod agreement;
mod data;
mod error;
mod files;
mod finetune;
mod from_scratch;
mod measure;
mod messages;
mod model;
mod optimiser;
mod selection;
mod session;
mod settings;

pub use agreement::sae_site::{SiteError, check_width, held_site, is_same_site, parsed_site, wanted_site};
pub use agreement::tokens::{begins_with_bos, bos_tokens, cache_tokenizer, special_tokens};
pub use agreement::training_origin::training_origin;
pub use error::TrainError;
pub use finetune::{Coefficients, FinetuneSettings, Finetuning};
pub use from_scratch::{Centring, Space, TrainSettings, train};
pub use measure::threshold::ThresholdSource;
pub use messages::summary::{HeldOutSequences, TrainingSummary};
pub use settings::architecture::{Architecture, Penalty};
pub use settings::course::{Course, Existing};
