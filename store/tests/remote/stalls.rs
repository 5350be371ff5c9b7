//! Workers, each a separate process, that are stopped for longer than their lease and continued, or killed, at random moments.
//!
//! `HAYLOFT_STALLS` is how many times, in a folder and in a bucket each; `scripts/check stall` asks for many.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hayloft_store::{Codec, Dtype, Existing, verify};
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use super::server::Server;
use super::{objects, options};
use crate::support::{self, Lengths, files_below, fill, settings, write_plan};

/// Longer than the lease of the workers.
const STALL: Duration = Duration::from_millis(1700);

/// How long all workers of a cache may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn many() -> Lengths {
    (0..10u32).map(|shard| vec![vec![9, 1 + shard % 5], vec![3]]).collect()
}

fn stalls() -> usize {
    env::var("HAYLOFT_STALLS").map_or(2, |count| count.parse().unwrap())
}

/// The worker's program, which Cargo builds with the tests.
fn program() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().unwrap().with_file_name("examples").join("sharing_worker");
    assert!(
        program.is_file(),
        "{}: cargo build -p hayloft-store --features cli --examples makes it",
        program.display()
    );
    program
}

/// Workers on one cache. One of them is stopped at a random moment, and continued once its lease is over, or killed.
struct Fleet<'a> {
    cache: String,
    server: Option<&'a Server>,
    scratch: &'a Path,
    /// How many kinds of hardware they run on.
    kinds: usize,
    /// Whether one is killed, as well as one stopped.
    kills: bool,
}

impl Fleet<'_> {
    fn start(&self, number: usize) -> Child {
        let mut command = Command::new(program());
        command.arg(&self.cache).arg(self.scratch).arg((number % self.kinds).to_string());
        if let Some(server) = self.server {
            command.envs(server.environment());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self, random: &mut rand_pcg::Pcg64) {
        let count = random.random_range(2..=4) + usize::from(self.kills);
        let mut workers: Vec<Child> = (0..count).map(|number| self.start(number)).collect();
        thread::sleep(Duration::from_millis(random.random_range(0..500)));
        if self.kills {
            let mut victim = workers.pop().unwrap();
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
        // A process that was not waited for keeps its number.
        let stopped = Pid::from_child(&workers[0]);
        kill_process(stopped, Signal::STOP).unwrap();
        thread::sleep(STALL);
        kill_process(stopped, Signal::CONT).unwrap();
        let until = Instant::now() + PATIENCE;
        for mut worker in workers {
            while worker.try_wait().unwrap().is_none() {
                assert!(Instant::now() < until, "a worker waits without end");
                thread::sleep(Duration::from_millis(10));
            }
            let output = worker.wait_with_output().unwrap();
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            assert!(output.status.success(), "{said}");
        }
    }
}

/// What one process alone makes.
fn by_one(kind: usize) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let writer = support::open(folder.path(), &settings(Dtype::Bf16, Codec::RAW), Existing::Refuse).unwrap();
    if kind == 0 {
        fill(writer).unwrap();
    } else {
        support::work_slowly(writer, kind).unwrap();
    }
    files_below(folder.path())
}

/// Each shard must have the bytes of one kind of hardware, all of them.
fn assert_of_one_kind_each(there: &BTreeMap<String, Vec<u8>>, kinds: usize) {
    let made: Vec<_> = (0..kinds).map(by_one).collect();
    for shard in 0..many().len() {
        let of_shard = |files: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
            let folder = format!("shards/{shard:05}/");
            files.iter().filter(|(name, _)| name.starts_with(&folder)).map(|(n, b)| (n.clone(), b.clone())).collect()
        };
        let whole = made.iter().any(|files| of_shard(files) == of_shard(there));
        assert!(whole, "shard {shard} is of no one kind of hardware");
    }
    assert!(there.keys().all(|name| !name.starts_with("claims/") && !name.contains(".partial")), "{:?}", there.keys());
    assert_eq!(there.len(), made[0].len());
}

#[expect(clippy::print_stdout, reason = "a failure shows with which seed it is had again")]
fn generator() -> rand_pcg::Pcg64 {
    let seed =
        env::var("HAYLOFT_STALLS_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("HAYLOFT_STALLS_SEED={seed}");
    rand_pcg::Pcg64::seed_from_u64(seed)
}

#[test]
fn in_a_folder_workers_that_stand_still_end_well_and_leave_the_cache_of_one() {
    let (expected, mut random) = (by_one(0), generator());
    for stall in 0..stalls() {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &many());
        let cache = folder.path().to_str().unwrap().to_owned();
        let fleet = Fleet { cache, server: None, scratch: folder.path(), kinds: 1, kills: stall % 2 == 1 };
        fleet.run(&mut random);
        assert!(files_below(folder.path()) == expected, "the cache differs");
    }
}

#[test]
fn in_a_folder_workers_of_two_kinds_leave_a_whole_cache() {
    let mut random = generator();
    for _ in 0..stalls() {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &many());
        let cache = folder.path().to_str().unwrap().to_owned();
        Fleet { cache, server: None, scratch: folder.path(), kinds: 2, kills: true }.run(&mut random);
        assert_of_one_kind_each(&files_below(folder.path()), 2);
        assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);
    }
}

#[test]
fn in_a_bucket_workers_that_stand_still_end_well_and_leave_the_cache_of_one() {
    let (expected, mut random) = (by_one(0), generator());
    for stall in 0..stalls() {
        in_a_bucket(&mut random, 1, stall % 2 == 1, |there, _| assert!(*there == expected, "the cache differs"));
    }
}

#[test]
fn in_a_bucket_workers_of_two_kinds_leave_a_whole_cache() {
    let mut random = generator();
    for _ in 0..stalls() {
        in_a_bucket(&mut random, 2, true, |there, server| {
            assert_of_one_kind_each(there, 2);
            let pulled = tempfile::tempdir().unwrap();
            super::pull("farm", pulled.path(), &hayloft_store::PullSelection::default(), &options(server)).unwrap();
            assert_eq!(verify(pulled.path(), &mut |_| ()).unwrap().damages, []);
        });
    }
}

fn in_a_bucket(
    random: &mut rand_pcg::Pcg64,
    kinds: usize,
    kills: bool,
    check: impl Fn(&BTreeMap<String, Vec<u8>>, &Server),
) {
    let (server, scratch, plan) = (Server::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_plan(plan.path(), &many());
    super::push(plan.path(), "farm", &options(&server)).unwrap();
    let cache = "s3://farm/farm".to_owned();
    Fleet { cache, server: Some(&server), scratch: scratch.path(), kinds, kills }.run(random);
    check(&objects(&server, "farm"), &server);
}
