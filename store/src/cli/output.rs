//! How a command prints its result.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

/// Whether a result is for people or for programs.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints a result: as JSON if asked for, else by `words`.
    pub(super) fn print(
        &self,
        stdout: &mut dyn Write,
        result: &impl Serialize,
        words: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut *stdout, result)?;
            writeln!(stdout)?;
        } else {
            words(stdout)?;
        }
        stdout.flush()
    }
}
