//! Crash tests of the maintenance commands. Whether killed before a disk operation or failed by one, the cache is the
//! complete old one or the complete new one, and running the command again gives the same bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hayloft_runtime::Dtype;

use crate::codec::Codec;
use crate::error::{Result, StoreError};
use crate::format::settings::{Existing, HarvestSettings};
use crate::fs::disk::{Disk, FileSystem};
use crate::fs::failing::FailingDisk;
use crate::fs::watched::{Operation, WatchedDisk, Watcher};
use crate::maintain::extend::extend_on;
use crate::maintain::holding::home;
use crate::maintain::merge::merge_on;
use crate::maintain::placing::Files;
use crate::maintain::repair::repair_on;
use crate::maintain::select::{Selection, select_on};
use crate::read::verify::verify;
use crate::support::{
    Everything, Lengths, files_below, fill_shard, lengths, open, read_everything, settings, site, write_plan,
};

/// Copies a folder before each operation that changes it, as a process killed at that moment would leave it.
#[derive(Debug)]
struct Copies {
    watched: PathBuf,
    into: PathBuf,
    taken: AtomicUsize,
}

impl Watcher for Copies {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        // Writes are numerous and not visible before the sync and the rename.
        if !matches!(operation, Operation::Write(..)) {
            let number = self.taken.fetch_add(1, Ordering::Relaxed);
            copy(&self.watched, &self.into.join(number.to_string()));
        }
        Ok(())
    }
}

/// Copies a folder's files. A missing folder gives an empty one.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    if from.exists() {
        for (name, bytes) in files_below(from) {
            let path = to.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

fn few() -> Lengths {
    vec![vec![vec![9, 8], vec![3]], vec![vec![5]]]
}

fn at(sites: &[&str]) -> HarvestSettings {
    let sites = sites.iter().map(|name| site(name)).collect();
    HarvestSettings { sites, ..settings(Dtype::Bf16, Codec::PLANES) }
}

fn harvest_shards(folder: &Path, settings: &HarvestSettings, shards: &[usize]) {
    write_plan(folder, &few());
    let mut writer = open(folder, settings, Existing::Refuse).unwrap();
    for index in shards {
        let shard = fill_shard(&writer, *index).unwrap();
        writer.record(shard).unwrap();
    }
    writer.finish().unwrap();
}

/// Runs `command` on copies of the cache `start`, killed before each operation, and with a disk that fails at each
/// operation, then runs it again without the fault. `readable` says whether a cache must be readable at all times.
fn survives(start: &Path, expected: &Path, readable: bool, command: impl Fn(&Arc<dyn Disk>, &Path) -> Result<()>) {
    let expected_files = files_below(expected);
    let old = readable.then(|| read_everything(start).unwrap());
    let new = read_everything(expected).unwrap();
    let real: Arc<dyn Disk> = Arc::new(FileSystem);
    let go_on = |folder: &Path, at: &str| {
        if readable {
            check_whole(folder, old.as_ref(), &new, at);
        }
        command(&real, folder).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(files_below(folder).keys().collect::<Vec<_>>(), expected_files.keys().collect::<Vec<_>>(), "{at}");
        assert!(files_below(folder) == expected_files, "{at}");
    };

    let work = tempfile::tempdir().unwrap();
    let (watched, copies) = (work.path().join("cache"), work.path().join("copies"));
    copy(start, &watched);
    let disk = WatchedDisk::new(Copies { watched: watched.clone(), into: copies.clone(), taken: AtomicUsize::new(0) });
    command(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &watched).unwrap();
    let kills = disk.watcher().taken.load(Ordering::Relaxed);
    assert!(kills > 5, "{kills} operations are too few to be all");
    for kill in 0..kills {
        go_on(&copies.join(kill.to_string()), &format!("killed before operation {kill}"));
    }

    for operation in 0.. {
        let folder = work.path().join(format!("failing-{operation}"));
        copy(start, &folder);
        let disk: Arc<dyn Disk> = Arc::new(FailingDisk::breaks_at(operation));
        match command(&disk, &folder) {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, StoreError::DiskFull { .. }), "operation {operation}: {error}"),
        }
        go_on(&folder, &format!("failed at operation {operation}"));
    }
}

/// Checks that a reader sees the old cache or the new one, undamaged.
fn check_whole(folder: &Path, old: Option<&Everything>, new: &Everything, at: &str) {
    let mut found = read_everything(folder).unwrap_or_else(|error| panic!("{at}: {error}"));
    for shard in &mut found.manifest.shards {
        shard.path = home(shard.index);
    }
    assert!(Some(&found) == old || found == *new, "{at}: neither the old cache nor the new one");
    let damages = verify(folder, &mut |_| ()).unwrap().damages;
    // In between, the plan is still the old one. The cache can be read without it.
    let damages: Vec<_> = damages.into_iter().filter(|damage| damage.file != "plan.json").collect();
    assert_eq!(damages, [], "{at}");
}

#[test]
fn sites_are_added_whole_or_not_at_all() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    harvest_shards(&path("a"), &at(&["a"]), &[0, 1]);
    harvest_shards(&path("b"), &at(&["b"]), &[0, 1]);
    harvest_shards(&path("both"), &at(&["a", "b"]), &[0, 1]);
    survives(&path("a"), &path("both"), true, |disk, folder| {
        extend_on(disk, folder, &path("b"), Files::LinkOrCopy, &mut |_| ()).map(drop)
    });
}

#[test]
fn shards_are_added_whole_or_not_at_all() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    harvest_shards(&path("a"), &at(&["a", "b"]), &[1]);
    harvest_shards(&path("b"), &at(&["a", "b"]), &[0]);
    harvest_shards(&path("both"), &at(&["a", "b"]), &[0, 1]);
    survives(&path("a"), &path("both"), true, |disk, folder| {
        extend_on(disk, folder, &path("b"), Files::Copy, &mut |_| ()).map(drop)
    });
}

#[test]
fn a_merge_goes_on() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    harvest_shards(&path("a"), &at(&["a"]), &[0]);
    harvest_shards(&path("b"), &at(&["a"]), &[1]);
    harvest_shards(&path("both"), &at(&["a"]), &[0, 1]);
    let inputs = [path("a"), path("b")];
    survives(&path("none"), &path("both"), false, |disk, folder| {
        merge_on(disk, &inputs, folder, Files::LinkOrCopy, Existing::Resume, &mut |_| ()).map(drop)
    });
}

#[test]
fn a_repair_goes_on() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    harvest_shards(&path("damaged"), &at(&["a"]), &[0, 1]);
    harvest_shards(&path("repaired"), &at(&["a"]), &[0]);
    fs::write(path("damaged/shards/00001/a.parquet"), "damage").unwrap();
    fs::write(path("damaged/plan/00000/tokens.parquet"), "damage").unwrap();
    survives(&path("damaged"), &path("repaired"), false, |disk, folder| {
        repair_on(disk, folder, false, &mut |_| ()).map(drop)
    });
}

#[test]
fn a_selection_appears_whole_or_not_at_all() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    write_plan(&path("whole"), &lengths());
    crate::support::fill(open(&path("whole"), &at(&["a"]), Existing::Refuse).unwrap()).unwrap();
    let sequences = Selection { sequences: Some("2..7".parse().unwrap()), ..Selection::default() };
    let shards = Selection { shards: Some("1..".parse().unwrap()), ..Selection::default() };
    for (name, selection) in [("sequences", sequences), ("shards", shards)] {
        let select = |disk: &Arc<dyn Disk>, out: &Path| {
            select_on(disk, &path("whole"), out, &selection, Files::LinkOrCopy, &mut |_| ()).map(drop)
        };
        let real: Arc<dyn Disk> = Arc::new(FileSystem);
        select(&real, &path(name)).unwrap();
        let expected = files_below(&path(name));
        for operation in 0.. {
            let out = path(&format!("{name}-{operation}"));
            if select(&(Arc::new(FailingDisk::breaks_at(operation)) as Arc<dyn Disk>), &out).is_ok() {
                assert!(operation > 15, "{operation} operations are too few to be all");
                break;
            }
            // Only the sync of the parent folder comes after the rename.
            if out.exists() {
                assert!(files_below(&out) == expected);
                continue;
            }
            // The leftover of a killed attempt does not get in the way.
            fs::create_dir_all(path(&format!(".{name}-{operation}.partial/plan"))).unwrap();
            select(&real, &out).unwrap();
            assert!(files_below(&out) == expected, "operation {operation}");
        }
    }
}
