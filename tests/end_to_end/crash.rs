//! Crashes and full disks: nothing half-written, nothing lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::small_model::SmallModel;
use crate::support::assert_same_files;
use crate::support::program::{program, refuse, succeed};

/// Whether a shard is being written at this moment: its temporary folder holds some bytes.
fn writing(cache: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(cache.join("shards")) else { return false };
    entries.flatten().map(|entry| entry.path()).filter(|path| !is_whole(path)).any(|path| {
        std::fs::read_dir(path)
            .is_ok_and(|files| files.flatten().any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0)))
    })
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

    let mut kills_within_a_shard = 0;
    for _ in 0..200 {
        let mut run = small.harvest("--resume", &killed).stderr(Stdio::null()).spawn().unwrap();
        let before = whole_shards(&killed).len();
        // Wait until it has got somewhere, then for a moment when a shard is half-written.
        let finished = loop {
            if run.try_wait().unwrap().is_some() {
                break true;
            }
            if writing(&killed) && (whole_shards(&killed).len() > before || kills_within_a_shard == 0) {
                break false;
            }
            std::thread::sleep(Duration::from_micros(50));
        };
        if finished {
            break;
        }
        // SIGKILL: no handler, no destructor.
        run.kill().unwrap();
        run.wait().unwrap();
        kills_within_a_shard += usize::from(writing(&killed));
    }
    succeed(&mut small.harvest("--resume", &killed));
    println!("killed {kills_within_a_shard} times within a shard, of {shards} shards");
    assert!(kills_within_a_shard > 0, "no kill hit the middle of a shard");
    assert_same_files(&whole, &killed);
    succeed(&mut program("store", "verify", &[("", &killed)]));
}

#[test]
fn a_cache_that_is_there_is_not_overwritten() {
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

/// A file system of 256 KiB, gone with the value; `None` where this user may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_written() {
    let small = SmallModel::new();
    let Some(disk) = SmallDisk::mount(small.folder("disk")) else {
        eprintln!("skipped: a small file system can be mounted by root only; a failing writer is tested in store/");
        return;
    };
    let cache = disk.0.join("cache");
    let message = refuse(&mut small.harvest("--dtype f32 --codec raw", &cache));
    assert!(message.to_lowercase().contains("space") || message.contains("full"), "{message}");
    let entries: Vec<PathBuf> =
        std::fs::read_dir(cache.join("shards")).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    assert!(entries.iter().all(|path| is_whole(path)), "{entries:?}");
}
