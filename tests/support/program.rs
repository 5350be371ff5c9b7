//! Runs the project's own programs, as a user would.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The programs, built once for all tests in the profile that the tests run in.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    // target/PROFILE/deps/workspace-HASH → target/PROFILE
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().to_path_buf();
    let mut build = Command::new(env!("CARGO"));
    // All targets, so that dependencies have the features that they have in `cargo test --workspace`, and with it
    // nothing is left to build here but what changed.
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).args(["build", "--quiet"]);
    build.args(["--workspace", "--all-targets"]);
    // What `cargo test` says of this package is not for that build: a build script that watches such variables would run
    // again, and what depends on it, this test's own file among them, would be made again while it runs.
    for (name, _) in std::env::vars_os() {
        let is_ours = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"].iter().any(|own| name.starts_with(own));
        if name.to_str().is_some_and(is_ours) {
            build.env_remove(name);
        }
    }
    if folder.file_name() == Some(OsStr::new("release")) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the programs do not build");
    folder
});

/// A command that runs `harvest`, `evaluate` or `store` with the words of `line`, which must hold no spaces of their
/// own, and then `paths`, pairs of a flag and its path.
pub fn program(name: &str, line: &str, paths: &[(&str, &Path)]) -> Command {
    let mut command = Command::new(PROGRAMS.join(name));
    command.args(line.split_whitespace());
    for (flag, path) in paths {
        if !flag.is_empty() {
            command.arg(flag);
        }
        command.arg(path);
    }
    command
}

/// Runs a command that must succeed; returns what it printed to standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", talk(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with an error message; returns that message.
pub fn refuse(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let talk = talk(&output);
    assert!(!output.status.success(), "{command:?} succeeded:\n{talk}");
    assert!(output.status.code().is_some(), "{command:?} died of a signal:\n{talk}");
    assert!(talk.contains("error"), "{command:?} failed without an error message:\n{talk}");
    assert!(!talk.contains("panicked"), "{command:?} panicked:\n{talk}");
    talk
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
