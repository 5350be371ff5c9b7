//! Starting over with an environment that LibTorch reads before `main`.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What OpenMP reads when it is loaded.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// What GNU's OpenMP reads for the same purpose.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";

/// Starts this program over, in the same process, so that LibTorch's threads sleep while they wait for each other.
///
/// They spin by default. While shards are encoded on the same cores, a thread that is waited for often is not running,
/// and all the others burn what it needs: harvesting a small model on two busy cores took five times as long. Whoever
/// sets either variable keeps what they set. Returns only where it has nothing to do, or cannot do it.
pub fn with_sleeping_threads() -> io::Result<()> {
    if env::var_os(WAIT_POLICY).is_some() || env::var_os(SPIN_COUNT).is_some() {
        return Ok(());
    }
    let mut words = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    Err(command.args(words).env(WAIT_POLICY, "passive").exec())
}
