//! Crashes and full disks: no half-written file is visible, and no data is lost.

use std::path::{Path, PathBuf};

use super::small_model::SmallModel;
use crate::support::assert_same_files;
use crate::support::program::{FAILPOINT, kill, program, refuse, succeed};

/// Whether a shard is being written now: its temporary folder holds some bytes.
fn writing(cache: &Path) -> bool {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut unfinished = entries(&cache.join("shards")).map(|entry| entry.path()).filter(|path| !is_whole(path));
    unfinished.any(|path| entries(&path).any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0)))
}

fn is_whole(shard: &Path) -> bool {
    shard.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
}

fn whole_shards(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache.join("shards")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| is_whole(path)).collect()
}

#[test]
fn a_harvest_killed_in_the_middle_of_a_shard_resumes_to_the_same_bytes() {
    let small = SmallModel::new();
    let (whole, killed) = (small.folder("whole"), small.folder("killed"));
    succeed(&mut small.harvest("", &whole));
    let shards = whole_shards(&whole).len();
    assert!(shards >= 4, "{shards} shards are too few to be killed among");

    for shard in 0..4 {
        kill(&mut small.harvest("--resume", &killed), &format!("create shards/.{shard:05}.partial sequences.parquet"));
        assert_eq!(whole_shards(&killed).len(), shard);
        assert!(writing(&killed), "no shard was half-written");
    }
    succeed(&mut small.harvest("--resume", &killed));
    assert_same_files(&whole, &killed);
    succeed(&mut program("store", "verify", &[("", &killed)]));
}

#[test]
fn an_existing_cache_is_not_overwritten() {
    let small = SmallModel::new();
    let cache = small.folder("cache");
    succeed(&mut small.harvest("", &cache));
    let message = refuse(&mut small.harvest("", &cache));
    assert!(message.contains("--resume"), "{message}");
    let message = refuse(&mut small.harvest("--resume --codec raw", &cache));
    assert!(message.contains("codec"), "{message}");
}

#[test]
fn a_second_writer_is_refused() {
    let small = SmallModel::new();
    let cache = small.folder("cache");
    succeed(&mut program(
        "harvest",
        "plan --shard-tokens 256 --row-group-rows 128",
        &[("--model", &small.model), ("--data", &small.data), ("--out", &cache)],
    ));
    let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(cache.join(".lock")).unwrap();
    lock.lock().unwrap();
    let message = refuse(&mut small.harvest("--resume", &cache));
    assert!(message.contains("lock") || message.contains("another"), "{message}");
}

/// On a real disk: `scripts/check crash --real-disks`.
#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_written() {
    let small = SmallModel::new();
    let (whole, cache) = (small.folder("whole"), small.folder("cache"));
    succeed(&mut small.harvest("--dtype f32 --codec raw", &whole));
    let mut run = small.harvest("--dtype f32 --codec raw", &cache);
    let message = refuse(run.env(FAILPOINT, "full@create shards/.00002.partial tokens.parquet"));
    assert!(message.contains("disk is full") && message.contains("tokens.parquet"), "{message}");
    let entries: Vec<PathBuf> =
        std::fs::read_dir(cache.join("shards")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(entries.len() == 2 && entries.iter().all(|path| is_whole(path)), "{entries:?}");
    // After space is available again.
    succeed(&mut small.harvest("--dtype f32 --codec raw --resume", &cache));
    assert_same_files(&whole, &cache);
}
