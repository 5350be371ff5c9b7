//! `store completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  store completions bash > ~/.local/share/bash-completion/completions/store
  store completions zsh > ~/.zfunc/_store
  store completions fish > ~/.config/fish/completions/store.fish")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "store", &mut script);
        stdout.write_all(&script)?;
        Ok(())
    }
}
