//! Failpoints, for `scripts/crash-test`: what the environment variable `HAYLOFT_FAILPOINT` says goes wrong, at a boundary
//! that it names by number. Every operation of [`Disk`] is a boundary; they are numbered from 1, over the whole process.
//!
//! | value | what happens |
//! |---|---|
//! | `list:FILE` | nothing goes wrong; FILE gets a line for each boundary |
//! | `kill:N` | the process is killed (SIGKILL: no handler, no destructor) just before boundary N |
//! | `torn:N` | half of what the N-th write or removal of a folder does is done, then the process is killed |
//! | `full:N` | from boundary N on the disk is full: whatever takes space fails with ENOSPC |
//! | `read-only:N` | from boundary N on the disk is read-only: all but syncing fails with EROFS |
//! | `broken-sync:N` | the N-th sync fails with EIO; those after it do not, as with a real disk |
//!
//! Only there with the cargo feature `failpoints`, which is off in a release.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::files::disk::Disk;
use crate::files::watched::{Operation, WatchedDisk, Watcher};

const VARIABLE: &str = "HAYLOFT_FAILPOINT";

/// The failing disk that the environment asks for: one for the process, so that its boundaries are numbered throughout.
///
/// # Panics
/// Where the variable says nothing that is known: a crash test that tests nothing must not pass.
pub(crate) fn from_environment() -> Option<Arc<dyn Disk>> {
    static DISK: OnceLock<Option<WatchedDisk<Failpoint>>> = OnceLock::new();
    let disk = DISK.get_or_init(|| {
        let value = env::var(VARIABLE).ok()?;
        let failpoint = Failpoint::parse(&value).unwrap_or_else(|problem| panic!("{VARIABLE}={value}: {problem}"));
        Some(WatchedDisk::new(failpoint))
    });
    disk.clone().map(|disk| Arc::new(disk) as Arc<dyn Disk>)
}

#[derive(Debug)]
enum Fault {
    List(Mutex<File>),
    Kill,
    Torn,
    Full,
    ReadOnly,
    BrokenSync,
}

/// What goes wrong, and at which boundary.
#[derive(Debug)]
pub(crate) struct Failpoint {
    fault: Fault,
    at: u64,
    passed: AtomicU64,
}

impl Failpoint {
    fn parse(value: &str) -> Result<Self, String> {
        let expected = || "expected list:FILE or one of kill, torn, full, read-only and broken-sync with :N".to_owned();
        let (fault, argument) = value.split_once(':').ok_or_else(expected)?;
        if fault == "list" {
            let file = File::create(argument).map_err(|error| format!("{argument}: {error}"))?;
            return Ok(Self::new(Fault::List(Mutex::new(file)), 0));
        }
        let fault = match fault {
            "kill" => Fault::Kill,
            "torn" => Fault::Torn,
            "full" => Fault::Full,
            "read-only" => Fault::ReadOnly,
            "broken-sync" => Fault::BrokenSync,
            _ => return Err(expected()),
        };
        Ok(Self::new(fault, argument.parse().map_err(|_| expected())?))
    }

    fn new(fault: Fault, at: u64) -> Self {
        Self { fault, at, passed: AtomicU64::new(0) }
    }
}

impl Watcher for Failpoint {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        let counts = match self.fault {
            Fault::Torn => matches!(operation, Operation::Write(..) | Operation::RemoveFolder(_)),
            Fault::BrokenSync => operation.syncs(),
            _ => true,
        };
        if !counts {
            return Ok(());
        }
        let number = 1 + self.passed.fetch_add(1, Ordering::SeqCst);
        let (now, from_now_on) = (number == self.at, number >= self.at);
        match &self.fault {
            Fault::List(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                writeln!(file, "{}", in_words(operation))
            }
            Fault::Kill if now => kill(operation),
            Fault::Torn if now => {
                half_done(operation)?;
                kill(operation)
            }
            Fault::Full if from_now_on && operation.takes_space() => Err(Errno::NOSPC.into()),
            Fault::ReadOnly if from_now_on && !operation.syncs() => Err(Errno::ROFS.into()),
            Fault::BrokenSync if now => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    }
}

/// The operation's name and paths, with tabs between.
fn in_words(operation: Operation<'_>) -> String {
    let (name, path) = match operation {
        Operation::Rename(from, to) => return format!("rename\t{}\t{}", to.display(), from.display()),
        Operation::Link(from, to) => return format!("link\t{}\t{}", to.display(), from.display()),
        Operation::Create(path) => ("create", path),
        Operation::Write(path, _) => ("write", path),
        Operation::Sync(path) => ("sync", path),
        Operation::CreateFolder(path) => ("create-folder", path),
        Operation::RemoveFile(path) => ("remove", path),
        Operation::RemoveFolder(path) => ("remove-folder", path),
        Operation::SyncFolder(path) => ("sync-folder", path),
    };
    format!("{name}\t{}", path.display())
}

fn half_done(operation: Operation<'_>) -> io::Result<()> {
    match operation {
        Operation::Write(path, bytes) => File::options().append(true).open(path)?.write_all(&bytes[..bytes.len() / 2]),
        Operation::RemoveFolder(path) => {
            let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
            let entries = entries.collect::<io::Result<Vec<PathBuf>>>()?;
            let half = entries[..entries.len() / 2].iter();
            half.map(|entry| if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) }).collect()
        }
        _ => Ok(()),
    }
}

/// Ends this process as a power switch would, and nothing is done after it.
fn kill(operation: Operation<'_>) -> ! {
    eprintln!("killed before\t{}", in_words(operation));
    // It cannot be refused, and the loop is for the moment until it arrives.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreError;
    use crate::files::staged::{replace_file, write_file};

    fn disk(value: &str) -> WatchedDisk<Failpoint> {
        WatchedDisk::new(Failpoint::parse(value).unwrap())
    }

    #[test]
    fn a_full_disk_takes_nothing_more_and_can_be_tidied_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // 1 creates, 2 writes.
        let error = replace_file(&disk("full:2"), &path, b"hay").unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_sync_fails_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // 1 is that of the file, 2 that of the folder that it has been renamed in.
        for number in [1, 2] {
            let error = replace_file(&disk(&format!("broken-sync:{number}")), &path, b"hay").unwrap_err();
            assert!(error.to_string().contains("write to the disk"), "{error}");
            assert_eq!(path.exists(), number == 2);
        }
        replace_file(&disk("broken-sync:3"), &path, b"hay").unwrap();
    }

    #[test]
    fn a_read_only_disk_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = replace_file(&disk("read-only:1"), &folder.path().join("a"), b"hay").unwrap_err();
        assert!(matches!(&error, StoreError::Io { cause, .. } if cause.kind() == io::ErrorKind::ReadOnlyFilesystem));
        assert!(error.to_string().contains("Read-only file system"), "{error}");
    }

    #[test]
    fn boundaries_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let (list, path) = (folder.path().join("list"), folder.path().join("a"));
        write_file(&disk(&format!("list:{}", list.display())), &path, b"hay").unwrap();
        let lines: Vec<String> = ["create", "write", "sync"].map(|name| format!("{name}\t{}\n", path.display())).into();
        assert_eq!(fs::read_to_string(list).unwrap(), lines.concat());
    }

    #[test]
    fn half_of_a_write_or_of_a_removal_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "").unwrap();
        half_done(Operation::Write(&path, b"hayloft!")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hayl");
        fs::write(folder.path().join("b"), "").unwrap();
        half_done(Operation::RemoveFolder(folder.path())).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for value in ["", "kill", "kill:", "kill:x", "kill:-1", "crash:1", "list:/nowhere/at/all"] {
            assert!(Failpoint::parse(value).is_err(), "{value}");
        }
    }
}
