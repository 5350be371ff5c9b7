//! What all of hayloft stands on: number types, fingerprints of files, files that appear whole, shares of a job, stop signals,
//! profiling, and the programs' talk to a person.

mod dtype;
mod files;
mod fingerprint;
mod part;
mod profile;
mod safetensors_file;
mod stopping;
mod terminal;
pub mod words;

pub use dtype::Dtype;
pub use files::{write_whole, write_whole_with};
pub use fingerprint::{FileHash, Fingerprint};
pub use part::Part;
pub use profile::{MatrixRates, Phase, PhaseTime, Profile, Profiling, Stretch};
pub use safetensors_file::{TensorBytes, TensorEntry, safetensors, safetensors_header};
pub use stopping::Stopping;
pub use terminal::{Gauge, Progress, exit_code, log_to_stderr, print, print_completions};
