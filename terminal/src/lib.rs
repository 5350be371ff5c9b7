//! What the programs share in talking to a person: results to stdout, talk to stderr.

mod log;
mod output;
mod part;
mod profile;
mod progress;

pub use log::log_to_stderr;
pub use output::{exit_code, print, print_completions};
pub use part::Part;
pub use profile::{MatrixRates, Phase, PhaseTime, Profile, Profiling, Stretch};
pub use progress::{Gauge, Progress};
