//! Folders that targets put their inputs in, one for each thread and purpose, made once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDERS: RefCell<BTreeMap<&'static str, TempDir>> = const { RefCell::new(BTreeMap::new()) };
}

/// The folder for a purpose, prepared at its first use on this thread.
#[expect(clippy::expect_used, reason = "without a temporary folder there is nothing to be done")]
pub(crate) fn folder(purpose: &'static str, prepare: impl FnOnce(&Path)) -> PathBuf {
    let there = FOLDERS.with_borrow(|folders| folders.get(purpose).map(|folder| folder.path().to_owned()));
    there.unwrap_or_else(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        prepare(folder.path());
        let path = folder.path().to_owned();
        FOLDERS.with_borrow_mut(|folders| folders.insert(purpose, folder));
        path
    })
}

/// Puts an input where a reader will look for it.
#[expect(clippy::expect_used, reason = "without a temporary folder there is nothing to be done")]
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file in a temporary folder");
}

/// The same where the folders above it may be missing.
#[expect(clippy::expect_used, reason = "without a temporary folder there is nothing to be done")]
pub(crate) fn write_below(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder)).expect("a folder in a temporary folder");
    write(&path, bytes);
}

/// Removes a folder that an input was put in, or that came of it, if it is there.
pub(crate) fn clear(folder: &Path) {
    let removed = fs::remove_dir_all(folder);
    assert!(
        removed.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::NotFound),
        "{}: {removed:?}",
        folder.display()
    );
}

/// The files below a folder by their names, but for those that begin with a dot.
#[expect(clippy::expect_used, reason = "without a temporary folder there is nothing to be done")]
pub(crate) fn read_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        for entry in fs::read_dir(folder.join(&below)).expect("a folder") {
            let entry = entry.expect("an entry");
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = if below.is_empty() { own.clone() } else { format!("{below}/{own}") };
            if entry.path().is_dir() {
                open.push(name);
            } else if !own.starts_with('.') {
                found.insert(name, fs::read(entry.path()).expect("a file"));
            }
        }
    }
    found
}
