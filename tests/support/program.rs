//! Runs the project's programs.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::TempDir;

/// The variable that makes a program end or wait at an operation: see `store/src/files/failpoints.rs`.
pub const FAILPOINT: &str = "HAYLOFT_FAILPOINT";

/// The programs, built once for all tests in the tests' profile.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    // target/PROFILE/deps/workspace-HASH → target/PROFILE
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().to_path_buf();
    let mut build = Command::new(env!("CARGO"));
    // Build all targets, so that dependencies have the features of `cargo test --workspace`, and only changes are
    // built.
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).args(["build", "--quiet"]);
    build.args(["--workspace", "--all-targets"]);
    // The build must not see the variables that `cargo test` sets for this package: a build script that watches them
    // would run again, and its dependents, this test's file among them, would be rebuilt during the test.
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

/// A command that runs `harvest`, `evaluate` or `store` with the words of `line`, split at spaces, and then `paths`,
/// pairs of a flag and its path.
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

/// Runs a command that must succeed; returns its standard output.
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

/// Runs a command that is killed (SIGKILL: no handler, no destructor) just before its first disk operation whose name
/// and paths contain these words.
pub fn kill(command: &mut Command, before: &str) {
    let output = command.env(FAILPOINT, format!("kill@{before}")).output().unwrap();
    let was_killed = output.status.signal() == Some(9);
    assert!(was_killed, "{command:?} never came to `{before}`: {}\n{}", output.status, talk(&output));
}

/// A program that waits just before a disk operation.
pub struct Held {
    pub child: Child,
    folder: TempDir,
}

impl Held {
    /// Starts a command, and returns when it has reached the first disk operation whose name and paths contain these
    /// words.
    pub fn start(command: &mut Command, before: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("held");
        command.env(FAILPOINT, format!("hold@{} {before}", place.display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !place.exists() {
            assert!(child.try_wait().unwrap().is_none(), "{command:?} never came to `{before}`");
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { child, folder }
    }

    /// Resumes it, and waits for its end.
    pub fn release(self) -> Output {
        std::fs::remove_file(self.folder.path().join("held")).unwrap();
        self.child.wait_with_output().unwrap()
    }
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
