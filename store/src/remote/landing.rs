//! Where pulled files land. A file is renamed into place when it is whole, and a shard's folder when all its files are.
//! Unfinished files stay between runs, under names that readers ignore and other writers remove.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Result, StoreError};
use crate::format::plan::{PLAN_FILE, PLAN_FOLDER};
use crate::format::records::FileRecord;
use crate::format::shard_record::SHARD_FILE;
use crate::fs::folder::plain_path;
use crate::fs::hash::check_file;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folders, partial, put_in_place, remove_entry, write_file};
use crate::remote::blocking::Remote;
use crate::remote::download::{Earlier, download};

/// Downloads the object `name` to `path` unless the file is there. Resumes an earlier, unfinished download.
pub(crate) fn land(
    remote: &Remote,
    name: &str,
    record: &FileRecord,
    path: &Path,
    more: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    // A pull verifies a file before the rename, but another program may have put this one here.
    if path.exists() {
        if check_file(path, record).is_ok() {
            more(record.bytes);
            return Ok(());
        }
        remove_entry(machine().as_ref(), path)?;
    }
    let unfinished = partial(path);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&unfinished);
    let mut file = opened.map_err(|source| StoreError::io(&unfinished, "create", source))?;
    download(remote, name, record, &unfinished, &mut file, Earlier::Keep, more)?;
    fs::rename(&unfinished, path).map_err(|source| StoreError::io(path, "give its name to", source))
}

/// Returns the path of a plan's table in a cache folder, and creates its parent. The path must be below `plan/`.
pub(crate) fn plan_table_place(record: &FileRecord, cache: &Path) -> Result<PathBuf> {
    let folder = Path::new(&record.path).parent().filter(|folder| folder.starts_with(PLAN_FOLDER));
    let Some(folder) = folder.filter(|_| plain_path(&record.path).is_some()) else {
        return Err(StoreError::LeavesFolder { path: cache.join(PLAN_FILE), named: record.path.clone() });
    };
    create_folders(machine().as_ref(), &cache.join(folder))?;
    Ok(cache.join(&record.path))
}

/// A shard's folder that is being pulled. It stays if the pull ends early.
#[derive(Debug)]
pub(crate) struct Landing {
    unfinished: PathBuf,
    folder: PathBuf,
    landed: AtomicUsize,
}

impl Landing {
    /// Starts or resumes filling what will be `folder`.
    pub(crate) fn begin(folder: PathBuf) -> Result<Self> {
        let unfinished = partial(&folder);
        create_folders(machine().as_ref(), &unfinished)?;
        Ok(Self { unfinished, folder, landed: AtomicUsize::new(0) })
    }

    /// Returns the path of a file before the folder is renamed.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.unfinished.join(name)
    }

    /// Counts one more file, and returns how many are there.
    pub(crate) fn landed(&self) -> usize {
        self.landed.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Writes `shard.json` and renames the folder into place, over an incomplete one if any. Call once all files are there.
    pub(crate) fn commit(&self, shard_json: &[u8]) -> Result<()> {
        let disk = machine();
        let own = self.file(SHARD_FILE);
        remove_entry(disk.as_ref(), &own)?;
        write_file(disk.as_ref(), &own, shard_json)?;
        put_in_place(disk.as_ref(), &self.unfinished, &self.folder, || ())
    }
}
