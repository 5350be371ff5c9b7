//! What the programs share in talking to a person: results to stdout, talk to stderr.

mod log;
mod output;
mod progress;

pub use self::log::log_to_stderr;
pub use self::output::{exit_code, print, print_completions};
pub use self::progress::{Gauge, Progress};
