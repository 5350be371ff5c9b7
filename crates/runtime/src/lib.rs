//! Shared foundations of hayloft: number types, file fingerprints, atomic file writes, parts of a job, stop signals,
//! profiling and terminal output.

mod dtype;
mod file_type;
mod files;
mod fingerprint;
mod part;
mod profile;
mod safetensors_file;
mod stopping;
#[cfg(feature = "tables")]
mod tables;
#[cfg(feature = "terminal")]
mod terminal;
pub mod words;

pub use dtype::Dtype;
pub use file_type::{other_file, without_mark};
pub use files::{write_whole, write_whole_with};
pub use fingerprint::{FileHash, Fingerprint};
pub use part::Part;
pub use profile::{Phase, PhaseTime, PhaseTimer, Profile, Profiling};
pub use safetensors_file::{TensorBytes, TensorEntry, safetensors, safetensors_header};
pub use stopping::Stopping;
#[cfg(feature = "tables")]
pub use tables::{TextTable, UNDEFINED};
#[cfg(feature = "terminal")]
pub use terminal::{Gauge, Progress, exit_code, log_to_stderr, print, print_completions, stdout_width};
