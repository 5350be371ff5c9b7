//! Where pulled files land: each under a name of its own when it is whole, and a shard's folder when all of them are.
//! What is unfinished stays between runs, under names that readers pass over and other writers remove.

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

/// Brings the object `name` to `path`, unless it is there. Of what an earlier pull left unfinished, only the rest is
/// brought.
pub(crate) fn land(
    remote: &Remote,
    name: &str,
    record: &FileRecord,
    path: &Path,
    more: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    // What has the name was checked before it got it, by a pull; here, somebody else may have put it there.
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

/// Where a table of a plan lies in the folder of a cache, which must be below `plan/`. Makes the folder that it lies in.
pub(crate) fn plan_table_place(record: &FileRecord, cache: &Path) -> Result<PathBuf> {
    let folder = Path::new(&record.path).parent().filter(|folder| folder.starts_with(PLAN_FOLDER));
    let Some(folder) = folder.filter(|_| plain_path(&record.path).is_some()) else {
        return Err(StoreError::LeavesFolder { path: cache.join(PLAN_FILE), named: record.path.clone() });
    };
    create_folders(machine().as_ref(), &cache.join(folder))?;
    Ok(cache.join(&record.path))
}

/// A shard's folder that is being filled. Unlike one that is written, it stays when the pull ends early.
#[derive(Debug)]
pub(crate) struct Landing {
    unfinished: PathBuf,
    folder: PathBuf,
    landed: AtomicUsize,
}

impl Landing {
    /// Begins to fill what will be `folder`, or goes on with it.
    pub(crate) fn begin(folder: PathBuf) -> Result<Self> {
        let unfinished = partial(&folder);
        create_folders(machine().as_ref(), &unfinished)?;
        Ok(Self { unfinished, folder, landed: AtomicUsize::new(0) })
    }

    /// Where a file of it is to be until the folder has its name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.unfinished.join(name)
    }

    /// Takes note that one more file is there, and returns how many are.
    pub(crate) fn landed(&self) -> usize {
        self.landed.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Writes `shard.json`, and gives the folder its name; what has it is no whole shard. To be called once all files
    /// are there.
    pub(crate) fn commit(&self, shard_json: &[u8]) -> Result<()> {
        let disk = machine();
        let own = self.file(SHARD_FILE);
        remove_entry(disk.as_ref(), &own)?;
        write_file(disk.as_ref(), &own, shard_json)?;
        put_in_place(disk.as_ref(), &self.unfinished, &self.folder, || ())
    }
}
