//! Results for programs.

use std::io::{self, Write};

use serde::Serialize;

/// Prints a result as JSON.
pub(super) fn print_json(value: &impl Serialize, stdout: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *stdout, value)?;
    writeln!(stdout)?;
    stdout.flush()
}
