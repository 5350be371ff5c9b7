//! Folders that targets put their inputs in, one for each thread and purpose, made once.

use std::cell::RefCell;
use std::collections::BTreeMap;
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
    std::fs::write(path, bytes).expect("a file in a temporary folder");
}
