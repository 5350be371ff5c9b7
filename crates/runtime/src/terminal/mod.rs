//! Terminal output of the programs: results to stdout, everything else to stderr.

mod log;
mod output;
mod progress;

pub use self::log::log_to_stderr;
pub use self::output::{exit_code, print, print_completions, stdout_width};
pub use self::progress::{Gauge, Progress};
