//! Failpoints, for the tests that kill programs and for `scripts/check crash`. The environment variable
//! `HAYLOFT_FAILPOINT` names a fault and the boundary at which to inject it. Every operation of [`Disk`] is a boundary.
//! Boundaries are numbered from 1 over the whole process.
//!
//! | value | effect |
//! |---|---|
//! | `list:FILE` | no fault; FILE gets a line per boundary |
//! | `kill:N` | kills the process (SIGKILL: no handler, no destructor) just before boundary N |
//! | `torn:N` | does half of the N-th write or folder removal, then kills the process |
//! | `full:N` | the disk is full from boundary N on: operations that take space fail with ENOSPC |
//! | `read-only:N` | the disk is read-only from boundary N on: all operations but syncs fail with EROFS |
//! | `broken-sync:N` | the N-th sync fails with EIO; later ones do not, as on a real disk |
//! | `hold@FILE WORDS` | creates FILE just before that boundary and waits there until FILE is removed |
//!
//! With `kill@WORDS` and so on in place of `kill:N`, the boundary is the first whose line, as written by `list`,
//! contains each of the words: `kill@create shards/.00001. tokens.parquet`. This does not depend on how threads
//! interleave.
//!
//! Only compiled with the cargo feature `failpoints`, which is off in a release.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::fs::disk::Disk;
use crate::fs::watched::{Operation, WatchedDisk, Watcher};

const VARIABLE: &str = "HAYLOFT_FAILPOINT";

/// The failing disk that the environment asks for, if any.
pub(crate) fn from_environment() -> Option<Arc<dyn Disk>> {
    environment().map(|disk| Arc::new(disk.clone()) as Arc<dyn Disk>)
}

/// The failing disk of the process, shared so that boundaries are numbered consistently.
///
/// # Panics
/// If the variable's value is invalid: a crash test that tests nothing must not pass.
fn environment() -> Option<&'static WatchedDisk<Failpoint>> {
    static DISK: OnceLock<Option<WatchedDisk<Failpoint>>> = OnceLock::new();
    let disk = DISK.get_or_init(|| {
        let value = env::var(VARIABLE).ok()?;
        let failpoint = Failpoint::parse(&value).unwrap_or_else(|problem| panic!("{VARIABLE}={value}: {problem}"));
        Some(WatchedDisk::new(failpoint))
    });
    disk.as_ref()
}

/// The boundary of a crate that renames files without [`Disk`].
///
/// # Errors
/// The injected fault.
#[cfg(feature = "failpoints")]
pub fn before_rename(from: &Path, to: &Path) -> io::Result<()> {
    environment().map_or(Ok(()), |disk| disk.watcher().before(Operation::Rename(from, to)))
}

#[derive(Debug)]
enum Fault {
    List(Mutex<File>),
    Kill,
    Torn,
    Full,
    ReadOnly,
    BrokenSync,
    Hold(PathBuf),
}

/// Selects a boundary.
#[derive(Debug)]
enum Place {
    Number(u64),
    Words(Vec<String>),
}

/// A fault, and the boundary to inject it at.
#[derive(Debug)]
pub(crate) struct Failpoint {
    fault: Fault,
    at: Place,
    /// Boundaries passed so far.
    passed: AtomicU64,
    /// Whether the boundary named by words has been passed.
    found: AtomicBool,
}

impl Failpoint {
    fn parse(value: &str) -> Result<Self, String> {
        let expected = || {
            "expected list:FILE, hold@FILE WORDS, or one of kill, torn, full, read-only and broken-sync with :N or @WORDS"
                .to_owned()
        };
        if let Some(file) = value.strip_prefix("list:") {
            let file = File::create(file).map_err(|error| format!("{file}: {error}"))?;
            return Ok(Self::new(Fault::List(Mutex::new(file)), Place::Number(0)));
        }
        if let Some((fault, words)) = value.split_once('@') {
            let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let fault = match fault {
                "hold" if !words.is_empty() => Fault::Hold(words.remove(0).into()),
                _ => Fault::parse(fault).ok_or_else(expected)?,
            };
            return if words.is_empty() { Err(expected()) } else { Ok(Self::new(fault, Place::Words(words))) };
        }
        let (fault, number) = value.split_once(':').ok_or_else(expected)?;
        let fault = Fault::parse(fault).ok_or_else(expected)?;
        Ok(Self::new(fault, Place::Number(number.parse().map_err(|_| expected())?)))
    }

    fn new(fault: Fault, at: Place) -> Self {
        Self { fault, at, passed: AtomicU64::new(0), found: AtomicBool::new(false) }
    }

    /// Whether this boundary is the selected one, and whether it is that or a later one.
    fn place(&self, operation: Operation<'_>) -> (bool, bool) {
        let number = 1 + self.passed.fetch_add(1, Ordering::SeqCst);
        match &self.at {
            Place::Number(at) => (number == *at, number >= *at),
            Place::Words(words) => {
                let line = in_words(operation);
                let is_named = words.iter().all(|word| line.contains(word.as_str()));
                let is_first = is_named && !self.found.swap(true, Ordering::SeqCst);
                (is_first, self.found.load(Ordering::SeqCst))
            }
        }
    }
}

impl Fault {
    /// Parses a fault that takes only a place.
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "kill" => Self::Kill,
            "torn" => Self::Torn,
            "full" => Self::Full,
            "read-only" => Self::ReadOnly,
            "broken-sync" => Self::BrokenSync,
            _ => return None,
        })
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
        let (now, from_now_on) = self.place(operation);
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
            Fault::Hold(file) if now => hold(file),
            _ => Ok(()),
        }
    }
}

/// The operation's name and paths, separated by tabs.
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
            let remove =
                |entry: &PathBuf| if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) };
            entries[..entries.len() / 2].iter().try_for_each(remove)
        }
        _ => Ok(()),
    }
}

/// Creates a file and waits until it is removed.
fn hold(file: &Path) -> io::Result<()> {
    File::create_new(file)?;
    while file.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Kills this process, as a power switch would.
fn kill(operation: Operation<'_>) -> ! {
    eprintln!("killed before\t{}", in_words(operation));
    // SIGKILL cannot be refused. The loop covers the time until it arrives.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreError;
    use crate::fs::staged::{replace_file, write_file};

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
        // 1 is the sync of the file, 2 that of its folder after the rename.
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
        for value in [
            "",
            "kill",
            "kill:",
            "kill:x",
            "kill:-1",
            "kill@",
            "kill@ ",
            "crash:1",
            "crash@x",
            "hold:1",
            "hold@",
            "hold@file",
            "list:/nowhere/at/all",
        ] {
            assert!(Failpoint::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_boundary_is_found_by_its_words_once() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk("broken-sync@sync /.b.partial");
        replace_file(&disk, &folder.path().join("a"), b"hay").unwrap();
        let error = replace_file(&disk, &folder.path().join("b"), b"hay").unwrap_err();
        assert!(error.to_string().contains("write to the disk"), "{error}");
        replace_file(&disk, &folder.path().join("b"), b"hay").unwrap();
    }

    #[test]
    fn a_full_disk_stays_full_from_the_boundary_of_these_words() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk("full@create /.b.partial");
        replace_file(&disk, &folder.path().join("a"), b"hay").unwrap();
        for name in ["b", "c"] {
            let error = replace_file(&disk, &folder.path().join(name), b"hay").unwrap_err();
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        }
    }

    #[test]
    fn a_boundary_is_held_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let (held, path) = (folder.path().join("held"), folder.path().join("a"));
        let disk = disk(&format!("hold@{} rename {}", held.display(), path.display()));
        thread::scope(|scope| {
            let writing = scope.spawn(|| replace_file(&disk, &path, b"hay"));
            while !held.exists() {
                thread::yield_now();
            }
            assert!(!path.exists());
            fs::remove_file(&held).unwrap();
            writing.join().unwrap().unwrap();
        });
        assert_eq!(fs::read(path).unwrap(), b"hay");
    }
}
