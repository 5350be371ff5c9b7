use std::sync::Arc;

use hayloft_runtime::Dtype;
use tempfile::TempDir;

use super::*;
use crate::codec::Codec;
use crate::error::Result;
use crate::format::manifest::MANIFEST_FILE;
use crate::format::plan::{PLAN_FILE, PlanWriter};
use crate::format::settings::{Existing, NonFinite};
use crate::fs::disk::{Disk, FileSystem};
use crate::fs::staged::write_file;
use crate::read::verify::verify;
use crate::support::{corpus, files_below, fill_shard, lengths, read_everything, settings, shard_data};
use crate::write::cache_writer::CacheWriter;

type Files = BTreeMap<String, Vec<u8>>;

/// A folder on a memory disk if possible, since the test does thousands of syncs.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn cache(root: &TempDir) -> PathBuf {
    root.path().join("caches/stories")
}

/// Plans a cache if necessary and fills the incomplete shards. `kept` gets the names that must not be lost from then
/// on.
fn harvest(disk: &Arc<dyn Disk>, folder: &Path, kept: &mut Vec<String>) -> Result<()> {
    if !folder.join(PLAN_FILE).exists() {
        let mut writer = PlanWriter::create_on(Arc::clone(disk), folder)?;
        for shard in 0..lengths().len() {
            let (sequences, tokens) = shard_data(&lengths(), shard);
            writer.add_shard(&sequences, &tokens)?;
        }
        writer.finish(corpus())?;
        kept.push("plan".to_owned());
    }
    let (settings, allowed) = (settings(Dtype::Bf16, Codec::PLANES), NonFinite::Refuse);
    let mut writer = CacheWriter::open_on(Arc::clone(disk), folder, settings, allowed, Existing::Resume)?;
    for index in 0..lengths().len() {
        if !writer.is_complete(index) {
            let shard = fill_shard(&writer, index)?;
            kept.push(format!("shards/{index:05}/"));
            writer.record(shard)?;
        }
    }
    writer.finish()?;
    kept.push(MANIFEST_FILE.to_owned());
    Ok(())
}

/// Checks that everything with a final name is complete, readable if listed, and that nothing committed is lost.
fn check(folder: &Path, expected: &Files, kept: &[String]) {
    let found = if folder.exists() { files_below(folder) } else { Files::new() };
    for (name, bytes) in found.iter().filter(|(name, _)| !name.starts_with('.') && !name.contains("/.")) {
        // The manifest grows; its entries are checked below.
        assert!(name == MANIFEST_FILE || expected.get(name) == Some(bytes), "{name} is half-written");
    }
    for name in expected.keys() {
        let must_be_there = match name.rsplit_once('/') {
            Some((shard, _)) => folder.join(shard).is_dir() || kept.iter().any(|kept| name.starts_with(kept)),
            None => kept.contains(name),
        };
        assert!(!must_be_there || found.contains_key(name), "{name} is lost");
    }
    if folder.join(MANIFEST_FILE).exists() {
        read_everything(folder).unwrap();
        assert_eq!(verify(folder, &mut |_| ()).unwrap().damages, []);
    }
}

fn resumes(root: &TempDir, expected: &Files) {
    harvest(&(Arc::new(FileSystem) as Arc<dyn Disk>), &cache(root), &mut Vec::new()).unwrap();
    assert_eq!(&files_below(&cache(root)), expected);
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_finished_shows_nothing_half_and_can_be_resumed() {
    let whole = scratch();
    let disk = PowerLossDisk::cut_after(u64::MAX, whole.path());
    harvest(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &cache(&whole), &mut Vec::new()).unwrap();
    let (operations, expected) = (disk.watcher().passed(), files_below(&cache(&whole)));
    assert!(operations > 100, "{operations} operations are too few to be all");

    for lasts in 0..=operations {
        let before = scratch();
        let disk = PowerLossDisk::cut_after(lasts, before.path());
        let mut kept = Vec::new();
        let done = harvest(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &cache(&before), &mut kept);
        assert_eq!(done.is_ok(), lasts == operations);
        for fate in [Fate::Lost, Fate::NamesOnly, Fate::Drawn(lasts), Fate::Drawn(!lasts)] {
            let after = scratch();
            disk.watcher().lay_out(fate, after.path());
            check(&cache(&after), &expected, &kept);
            if let Fate::Drawn(seed) = fate {
                // Cut the power once more while the harvest resumes.
                let again = PowerLossDisk::cut_after(seed % operations / 2, after.path());
                let mut kept = kept.clone();
                let _ = harvest(&(Arc::new(again.clone()) as Arc<dyn Disk>), &cache(&after), &mut kept);
                let twice = scratch();
                again.watcher().lay_out(Fate::Drawn(seed ^ 1), twice.path());
                check(&cache(&twice), &expected, &kept);
                resumes(&twice, &expected);
            } else {
                resumes(&after, &expected);
            }
        }
    }
}

#[test]
fn the_simulation_loses_what_was_not_synced() {
    let root = scratch();
    let disk = PowerLossDisk::cut_after(u64::MAX, root.path());
    write_file(&disk, &root.path().join("a"), b"hay").unwrap();
    let mut unsynced = disk.create(&root.path().join("b")).unwrap();
    unsynced.write_all(b"loft").unwrap();
    let found = |fate| {
        let after = scratch();
        disk.watcher().lay_out(fate, after.path());
        files_below(after.path())
    };
    // The bytes of `a` are safe, but neither name is.
    assert_eq!(found(Fate::Lost), Files::new());
    let names_only = Files::from([("a".to_owned(), b"hay".to_vec()), ("b".to_owned(), Vec::new())]);
    assert_eq!(found(Fate::NamesOnly), names_only);
    disk.sync_folder(root.path()).unwrap();
    assert_eq!(found(Fate::Lost), names_only);
    assert!((0..50).any(|seed| found(Fate::Drawn(seed))["b"] == b"lo\0\0"));
}
