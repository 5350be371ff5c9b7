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

mod agreement;
mod data;
mod error;
mod files;
mod finetune;
mod measure;
mod messages;
mod model;
mod optimiser;
mod scratch;
mod selection;
mod session;
mod settings;

pub use agreement::bos::{begins_with_bos, bos_tokens};
pub use agreement::sae_site::{SiteError, check_width, held_site, is_same_site, parsed_site, wanted_site};
pub use agreement::special_tokens::special_tokens;
pub use agreement::training_origin::training_origin;
pub use data::Mixing;
pub use error::TrainError;
pub use finetune::{Coefficients, FinetuneSettings, finetune};
pub use measure::threshold::ThresholdSource;
pub use messages::summary::{HeldOutSequences, TrainingSummary};
pub use scratch::{Centring, Space, TrainSettings, train};
pub use settings::architecture::{Architecture, Penalty};
pub use settings::course::{Course, Existing};
