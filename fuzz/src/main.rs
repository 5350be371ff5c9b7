//! The `fuzz` program: replays one input, and writes the seeds of the corpus. `scripts/fuzz` starts it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use hayloft_fuzz::{guarded, seeds, target};

/// Replay one input, or write the seeds of the corpus.
#[derive(Debug, Parser)]
#[command(name = "fuzz", version, arg_required_else_help = true)]
struct Arguments {
    /// Run one input and print what the reader makes of it.
    #[arg(long, value_name = "FILE", conflicts_with = "write_seeds")]
    replay: Option<PathBuf>,
    /// The input's target [default: the one that its folder is named after].
    #[arg(long, value_name = "NAME", requires = "replay")]
    target: Option<String>,
    /// Write the seeds in fuzz/corpus again, by the writers of this version.
    #[arg(long)]
    write_seeds: bool,
}

#[expect(clippy::print_stdout, reason = "the one place that prints results")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.replay {
        println!("{}", replay(file, arguments.target.as_deref())?);
    }
    if arguments.write_seeds {
        println!("{} seeds written", seeds::write()?);
    }
    Ok(())
}

/// Runs the input in a file. Returns what the reader makes of it.
fn replay(file: &Path, name: Option<&str>) -> Result<String> {
    let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let name = name.or(folder).unwrap_or_default();
    let target = target(name).with_context(|| {
        format!("{}: expected the folder of a target, got {name:?}. Name the target with --target", file.display())
    })?;
    let input = fs::read(file).with_context(|| format!("{}", file.display()))?;
    match guarded(target, &input) {
        Ok(Ok(())) => Ok(format!("{name}: read")),
        Ok(Err(words)) => Ok(format!("{name}: refused: {words}")),
        Err(failure) => bail!("{name}: panicked at {}: {}", failure.place, failure.message),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
