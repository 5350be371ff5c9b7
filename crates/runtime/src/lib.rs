//! Shared foundations of hayloft: number types, file hashes, the identity of a model, atomic file writes, the user's cache
//! folder, parts of a job, stop signals, profiling and terminal output.

mod dtype;
mod file_hash;
mod files;
mod model_identity;
mod part;
mod profile;
mod safetensors_file;
mod stopping;
#[cfg(feature = "tables")]
mod tables;
#[cfg(feature = "terminal")]
mod terminal;
mod user_cache;
pub mod words;

pub use dtype::Dtype;
pub use file_hash::FileHash;
pub use files::file_type::{other_file, other_file_at, without_mark};
pub use files::{file_names, write_whole, write_whole_with};
pub use model_identity::{IdentityDifference, ModelIdentity, hexadecimal, sha256_hex};
pub use part::Part;
pub use profile::{Phase, PhaseTime, PhaseTimer, Profile, Profiling};
pub use safetensors_file::{TensorBytes, TensorEntry, safetensors, safetensors_header};
pub use stopping::Stopping;
#[cfg(feature = "tables")]
pub use tables::{TextTable, UNDEFINED};
#[cfg(feature = "terminal")]
pub use terminal::{Gauge, Progress, exit_code, log_to_stderr, print, print_completions, stdout_width};
pub use user_cache::{CACHE_VARIABLE, user_cache};
