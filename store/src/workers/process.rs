//! Which process it is, so that others on the same machine can see whether it is still there.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::fs::lock::host_name;

/// A process, told from every other that ever ran anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The machine's name, for people.
    pub(crate) host: String,
    /// What tells this start of this machine's kernel from all others; empty where it is not known.
    boot: String,
    /// The namespace that `pid` is a number of.
    namespace: String,
    pub(crate) pid: u32,
    /// When the process started, in ticks of its kernel: numbers of processes are used again.
    started: u64,
}

impl Process {
    /// This one.
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

    /// Whether it is known to have ended: it ran where this process runs, and is not there any more. Of other machines nothing is
    /// known.
    pub(crate) fn has_ended(&self) -> bool {
        let own = Self::this();
        let is_here = !self.boot.is_empty() && self.boot == own.boot && self.namespace == own.namespace;
        is_here && own.started != 0 && alive_since(self.pid) != Some(self.started)
    }
}

/// When the process of this number started; `None` where there is none, or one that has ended and is only still listed.
fn alive_since(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // proc_pid_stat(5): the state is the third field, the start the twenty-second.
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
        // The same number, used again by a process that started later.
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
