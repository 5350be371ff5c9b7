//! Identifies a process, so that others on the same machine can see whether it still runs.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::fs::lock::host_name;

/// A process, identified uniquely across machines and reboots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The machine's name, for messages.
    pub(crate) host: String,
    /// The kernel's boot ID; empty if unknown.
    boot: String,
    /// The PID namespace of `pid`.
    namespace: String,
    pub(crate) pid: u32,
    /// Start time of the process in kernel clock ticks. Needed because PIDs are reused.
    started: u64,
}

impl Process {
    /// The current process.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
        Self {
            host: host_name(),
            boot: line("/proc/sys/kernel/random/boot_id"),
            namespace,
            pid,
            started: alive_since(pid).unwrap_or_default(),
        }
    }

    /// Whether the process is known to have ended: it ran on this machine and is gone. Nothing is known about other
    /// machines.
    pub(crate) fn has_ended(&self) -> bool {
        let own = Self::this();
        let is_here = !self.boot.is_empty() && self.boot == own.boot && self.namespace == own.namespace;
        is_here && own.started != 0 && alive_since(self.pid) != Some(self.started)
    }
}

/// Start time of the process with this PID; `None` if there is none or it is a zombie.
fn alive_since(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name is in parentheses and may contain any characters.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // proc_pid_stat(5): the state is field 3, the start time field 22.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_known_by_it_and_others_are_not() {
        let this = Process::this();
        assert!(!this.has_ended());
        let mut child = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
        let own = Process { pid: child.id(), started: alive_since(child.id()).unwrap(), ..this.clone() };
        assert!(!own.has_ended());
        // The same PID, reused by a process that started later.
        assert!(Process { started: own.started + 1, ..own.clone() }.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.has_ended());
        for elsewhere in [
            Process { boot: "another start".to_owned(), ..own.clone() },
            Process { namespace: "pid:[1]".to_owned(), ..own.clone() },
            Process { boot: String::new(), ..own },
        ] {
            assert!(!elsewhere.has_ended(), "nothing is known of it: {elsewhere:?}");
        }
    }
}
