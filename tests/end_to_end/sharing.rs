//! Several processes on one cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::small_model::SmallModel;
use crate::support::assert_same_files;
use crate::support::program::{Held, kill, program, refuse, succeed};

/// A planned cache of several shards.
fn planned(small: &SmallModel, name: &str) -> PathBuf {
    let cache = small.folder(name);
    plan(small, &cache);
    cache
}

fn plan(small: &SmallModel, cache: &Path) {
    let line = "plan --shard-tokens 256 --row-group-rows 128";
    succeed(&mut program("harvest", line, &[("--model", &small.model), ("--data", &small.data), ("--out", cache)]));
}

/// Fills a planned cache beside other workers.
fn worker(small: &SmallModel, options: &str, cache: &Path) -> Command {
    let line = format!("run --share --site blocks.1.hook_resid_pre {options}");
    program("harvest", &line, &[("--model", &small.model), ("--out", cache)])
}

/// The same shards, by one process.
fn whole(small: &SmallModel) -> PathBuf {
    let cache = planned(small, "whole");
    let line = "run --site blocks.1.hook_resid_pre";
    succeed(&mut program("harvest", line, &[("--model", &small.model), ("--out", &cache)]));
    cache
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn has_claim(cache: &Path) -> bool {
    let entries = fs::read_dir(cache.join("claims")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".0"))
}

/// Whether a process has noticed the request to stop: its thread that waits for the end of its input has ended, or no
/// signal is pending.
fn has_heard(child: &Child, by: &str) -> bool {
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    if by == "a signal" {
        let status = fs::read_to_string(process.join("status")).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
        return pending.trim().bytes().all(|digit| digit == b'0');
    }
    let names = fs::read_dir(process.join("task")).unwrap().flatten();
    // A thread that has ended since the listing has no name.
    names
        .filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok())
        .all(|name| name.trim() != "end of input")
}

#[test]
fn processes_that_are_killed_leave_their_shards_to_others_and_the_cache_is_the_same() {
    let small = SmallModel::new();
    let (whole, shared) = (whole(&small), planned(&small, "shared"));
    // When it has only a claim, when a shard is half-written, and just before a finished shard gets its name.
    for before in ["create-folder shards/.", "create shards/. tokens.parquet", "rename shards/."] {
        kill(&mut worker(&small, "", &shared), before);
        assert!(has_claim(&shared), "killed before `{before}`");
    }
    let workers: Vec<Child> = (0..3).map(|_| spawn(&mut worker(&small, "", &shared))).collect();
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    assert_same_files(&whole, &shared);
    succeed(&mut program("store", "verify", &[("", &shared)]));
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status();
    assert!(kill.unwrap().success());
}

#[test]
fn a_process_that_was_stopped_for_longer_than_its_lease_goes_on_and_the_cache_is_the_same() {
    let small = SmallModel::new();
    let (whole, shared) = (whole(&small), planned(&small, "shared"));
    let mut stopped = spawn(&mut worker(&small, "--lease 1", &shared));
    while stopped.try_wait().unwrap().is_none() && !has_claim(&shared) {
        std::thread::sleep(Duration::from_micros(200));
    }
    signal(&stopped, "STOP");
    // It waits until the lease has expired, and fills the shard that the other began.
    succeed(&mut worker(&small, "--lease 1", &shared));
    signal(&stopped, "CONT");
    assert!(stopped.wait().unwrap().success());
    assert_same_files(&whole, &shared);
}

#[test]
fn processes_whose_writing_fails_while_they_wait_for_each_other_end() {
    let small = SmallModel::new();
    let shared = small.folder("shared");
    // Two shards, one for each process, of one row group: a failed write is detected when the shard is finished.
    let line = "plan --shard-tokens 2048 --row-group-rows 2048";
    let paths = [("--model", small.model.as_path()), ("--data", &small.data), ("--out", &shared)];
    succeed(&mut program("harvest", line, &paths));
    assert_eq!(fs::read_dir(shared.join("plan")).unwrap().count(), 2);
    let limited = || {
        let run = worker(&small, "", &shared);
        let mut command = Command::new("sh");
        // These processes cannot write files of more than 8 KiB, as on a full disk.
        command.arg("-c").arg("trap '' XFSZ; ulimit -f 16; exec \"$@\"").arg("sh").arg(run.get_program());
        command.args(run.get_args());
        spawn(&mut command)
    };
    let mut processes = [limited(), limited()];
    let until = Instant::now() + Duration::from_secs(90);
    for process in &mut processes {
        let status = loop {
            match process.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > until => break process.kill().and_then(|()| process.wait()).unwrap(),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        assert_eq!(status.code(), Some(1), "it fails, and does not hang");
    }
}

#[test]
fn a_process_that_is_asked_to_stop_leaves_nothing_half_written_and_no_claim() {
    let small = SmallModel::new();
    for by in ["a signal", "the end of its input"] {
        let shared = planned(&small, by);
        let options = if by == "a signal" { "" } else { "--stop-on-eof" };
        let mut held = Held::start(&mut worker(&small, options, &shared), "create shards/. tokens.parquet");
        assert!(has_claim(&shared));
        if by == "a signal" {
            signal(&held.child, "TERM");
        } else {
            drop(held.child.stdin.take());
        }
        while !has_heard(&held.child, by) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = held.release();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("stopped as asked"), "{by}: {said}");
        let shards = fs::read_dir(shared.join("shards")).into_iter().flatten().flatten();
        for shard in shards {
            assert!(!shard.file_name().to_string_lossy().starts_with('.'), "{:?} after {by}", shard.path());
        }
        // At once: there is no lease to wait for.
        succeed(&mut worker(&small, "--lease 86400", &shared));
        succeed(&mut program("store", "verify", &[("", &shared)]));
    }
}

#[test]
fn processes_of_one_machine_share_a_cache_although_the_device_of_one_is_missing() {
    let small = SmallModel::new();
    let (whole, shared) = (whole(&small), planned(&small, "shared"));
    let workers: Vec<Child> = (0..2).map(|_| spawn(&mut worker(&small, "--device cpu --threads 1", &shared))).collect();
    let message = refuse(&mut worker(&small, "--device cuda:77", &shared));
    assert!(message.contains("cuda:77"), "{message}");
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    assert_same_files(&whole, &shared);

    // Existing shards are kept; a missing one is filled.
    fs::remove_dir_all(shared.join("shards/00001")).unwrap();
    let printed = succeed(&mut worker(&small, "--json", &shared));
    let summary: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(summary["filled_shards"], 1);
    assert_same_files(&whole, &shared);

    let message = refuse(&mut worker(&small, "--device cpu,cuda:77", &shared));
    assert!(message.contains("for device in cpu cuda:77; do") && message.contains("--share"), "{message}");
}

#[test]
fn a_worker_with_another_checkpoint_or_site_is_refused_and_the_others_go_on() {
    let small = SmallModel::new();
    let (whole, shared) = (whole(&small), planned(&small, "shared"));
    // The first one has begun, and was killed.
    kill(&mut worker(&small, "", &shared), "create shards/. tokens.parquet");
    let message = refuse(&mut worker(&small, "--codec raw", &shared));
    assert!(message.contains("codec differs") && message.contains("session.json"), "{message}");
    let other = small.folder("other");
    crate::support::copy_folder(&small.model, &other);
    let weights = other.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let line = "run --share --site blocks.1.hook_resid_pre";
    let message = refuse(&mut program("harvest", line, &[("--model", &other), ("--out", &shared)]));
    assert!(message.contains("model.tensors"), "{message}");
    succeed(&mut worker(&small, "", &shared));
    assert_same_files(&whole, &shared);
}

#[test]
fn sharing_takes_a_plan_and_a_location_takes_sharing() {
    let small = SmallModel::new();
    let folder = small.folder("none");
    let message = refuse(&mut worker(&small, "", &folder));
    assert!(message.contains("harvest plan"), "{message}");
    assert!(!folder.exists());
    let line = "run --site blocks.1.hook_resid_pre --out s3://farm/stories";
    let message = refuse(&mut program("harvest", line, &[("--model", &small.model)]));
    assert!(message.contains("--share"), "{message}");
}

#[test]
fn a_cache_behind_a_location_is_filled_from_scratch_folders() {
    let small = SmallModel::new();
    let (whole, local, there) = (whole(&small), planned(&small, "local"), small.folder("there"));
    let location = format!("file://{}", there.display());
    succeed(program("store", "push", &[("", &local)]).arg(&location));
    let scratch = small.folder("scratch");
    let work = || {
        let line = format!("run --share --lease 1 --site blocks.1.hook_resid_pre --out {location}");
        program("harvest", &line, &[("--model", &small.model), ("--scratch", &scratch)])
    };
    // One is killed in the middle of a shard.
    kill(&mut work(), "create shards/. tokens.parquet");
    assert!(has_claim(&there));
    let workers: Vec<Child> = (0..2).map(|_| spawn(&mut work())).collect();
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    assert_same_files(&whole, &there);
}

#[test]
fn parts_of_rollouts_merge_to_the_file_of_one_process() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scratch = tempfile::tempdir().unwrap();
    let rollouts = |name: &str, options: &str| {
        let line = format!("rollouts --limit 12 --max-new-tokens 8 --batch-tokens 256 {options}");
        let out = scratch.path().join(name);
        let data = root.join("demo/experiment/instructions.toml");
        let paths = [("--model", root.join("demo/chat")), ("--data", data), ("--out", out)];
        program("harvest", &line, &paths.each_ref().map(|(flag, path)| (*flag, path.as_path())))
    };
    succeed(&mut rollouts("one.parquet", ""));
    let parts: Vec<Child> =
        (0..3).map(|part| spawn(&mut rollouts("parts.parquet", &format!("--part {part}/3")))).collect();
    for mut part in parts {
        assert!(part.wait().unwrap().success());
    }
    assert!(!scratch.path().join("parts.parquet").exists());
    let made = succeed(&mut rollouts("parts.parquet", "--resume --json"));
    assert!(made.contains("\"made_rows\": 0"), "{made}");
    let read = |name: &str| fs::read(scratch.path().join(name)).unwrap();
    assert!(read("one.parquet") == read("parts.parquet"), "the files differ");
    assert!(!scratch.path().join("parts.parquet.parts").exists());
}
