//! Failpoints, for the tests that kill programs and for `scripts/crash-test`: what the environment variable
//! `HAYLOFT_FAILPOINT` says goes wrong, at a boundary that it names. Every operation of [`Disk`] is a boundary; they are
//! numbered from 1, over the whole process.
//!
//! | value | what happens |
//! |---|---|
//! | `list:FILE` | nothing goes wrong; FILE gets a line for each boundary |
//! | `kill:N` | the process is killed (SIGKILL: no handler, no destructor) just before boundary N |
//! | `torn:N` | half of what the N-th write or removal of a folder does is done, then the process is killed |
//! | `full:N` | from boundary N on the disk is full: whatever takes space fails with ENOSPC |
//! | `read-only:N` | from boundary N on the disk is read-only: all but syncing fails with EROFS |
//! | `broken-sync:N` | the N-th sync fails with EIO; those after it do not, as with a real disk |
//! | `hold@FILE WORDS` | just before that boundary FILE is made, and the boundary waits until FILE is removed |
//!
//! `kill@WORDS` and so on in place of `kill:N` mean the first boundary in whose line, as `list` writes it, each of the words
//! occurs: `kill@create shards/.00001. tokens.parquet`. It is the same one however threads take turns.
//!
//! Only there with the cargo feature `failpoints`, which is off in a release.

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

/// The failing disk that the environment asks for, if it does.
pub(crate) fn from_environment() -> Option<Arc<dyn Disk>> {
    environment().map(|disk| Arc::new(disk.clone()) as Arc<dyn Disk>)
}

/// One for the process, so that its boundaries are numbered throughout.
///
/// # Panics
/// Where the variable says nothing that is known: a crash test that tests nothing must not pass.
fn environment() -> Option<&'static WatchedDisk<Failpoint>> {
    static DISK: OnceLock<Option<WatchedDisk<Failpoint>>> = OnceLock::new();
    let disk = DISK.get_or_init(|| {
        let value = env::var(VARIABLE).ok()?;
        let failpoint = Failpoint::parse(&value).unwrap_or_else(|problem| panic!("{VARIABLE}={value}: {problem}"));
        Some(WatchedDisk::new(failpoint))
    });
    disk.as_ref()
}

/// The boundary of a crate that renames what it has written without [`Disk`].
///
/// # Errors
/// What goes wrong there.
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

/// Which boundary.
#[derive(Debug)]
enum Place {
    Number(u64),
    Words(Vec<String>),
}

/// What goes wrong, and at which boundary.
#[derive(Debug)]
pub(crate) struct Failpoint {
    fault: Fault,
    at: Place,
    /// Boundaries so far.
    passed: AtomicU64,
    /// The one that is named by words has been among them.
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

    /// Whether a boundary is the one, and whether it is that or a later one.
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
    /// One that needs nothing but a place.
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
            let remove =
                |entry: &PathBuf| if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) };
            entries[..entries.len() / 2].iter().try_for_each(remove)
        }
        _ => Ok(()),
    }
}

/// Makes a file, and waits until it is removed.
fn hold(file: &Path) -> io::Result<()> {
    File::create_new(file)?;
    while file.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Ends this process as a power switch would, and nothing is done after it.
fn kill(operation: Operation<'_>) -> ! {
    eprintln!("killed before\t{}", in_words(operation));
    // It cannot be refused, and the loop is for the moment until it arrives.
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
