//! Tests with simulated clocks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::workers::place::FolderClaims;

const LEASE: Duration = Duration::from_secs(100);

/// Workers on simulated machines, with clocks that the test advances.
struct World {
    folder: tempfile::TempDir,
}

struct Machine {
    leases: Leases,
    clock: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn machine(&self, name: &str, clock: u64) -> Machine {
        let place = Arc::new(FolderClaims::open(self.folder.path(), name).unwrap());
        let clock = Arc::new(AtomicU64::new(clock));
        let own = Arc::clone(&clock);
        let read = Arc::new(move || Duration::from_secs(own.load(Ordering::Relaxed)));
        let mut leases = Leases::with_clock(place, name.to_owned(), LEASE, read);
        let own = Arc::get_mut(&mut leases.own).unwrap();
        // On another machine, whose processes cannot be checked.
        own.claim.process = serde_json::from_value(serde_json::json!({
            "host": name, "boot": name, "namespace": "", "pid": 1, "started": 1,
        }))
        .unwrap();
        Machine { leases, clock }
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("claims")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Machine {
    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    fn takes(&self, shard: usize) -> bool {
        matches!(self.leases.take(shard).unwrap(), Claim::Taken { .. })
    }

    /// Whether it still holds the shard after a beat.
    fn has(&self, shard: usize) -> bool {
        self.leases.own.beat();
        self.leases.own.generation(shard).is_some()
    }

    /// Simulates a kill: nothing is released.
    fn dies(self) {
        self.leases.own.lock_held().clear();
    }
}

#[test]
fn a_shard_is_one_workers_until_it_is_finished() {
    let world = World::new();
    let (one, two) = (world.machine("one", 0), world.machine("two", 0));
    assert!(one.takes(7) && !two.takes(7) && two.takes(8));
    assert!(one.has(7) && !two.has(7));
    assert_eq!(two.leases.take(7).unwrap(), Claim::HeldBy("process 1 on one".to_owned()));
    one.leases.finish(7).unwrap();
    assert_eq!(world.files(), ["00008.0"]);
}

#[test]
fn a_dead_workers_shard_is_taken_over_after_its_lease_whatever_the_clocks_say() {
    let world = World::new();
    // The clocks are years apart.
    let (one, two, three) = (world.machine("one", 5), world.machine("two", 1_000_000_000), world.machine("three", 7));
    assert!(one.takes(0));
    assert!(!two.takes(0) && !three.takes(0));
    two.pass(99);
    assert!(!two.takes(0));
    one.leases.own.beat();
    // The counter has moved, so the lease starts again.
    assert!(!two.takes(0));
    two.pass(99);
    assert!(!two.takes(0));
    one.dies();
    two.pass(2);
    assert!(two.takes(0), "it stood still for 101 seconds of this clock");
    assert!(!three.takes(0), "the next generation has an owner");
    assert!(two.has(0));
    two.leases.finish(0).unwrap();
    assert!(world.files().is_empty());
}

#[test]
fn a_worker_that_was_only_silent_finds_its_shard_gone() {
    let world = World::new();
    let (one, two) = (world.machine("one", 0), world.machine("two", 0));
    assert!(one.takes(0) && !two.takes(0));
    two.pass(101);
    assert!(two.takes(0));
    assert!(!one.has(0));
    // Neither finishing nor releasing touches the other worker's claim.
    one.leases.finish(0).unwrap();
    drop(one);
    assert!(two.has(0));
    assert_eq!(world.files(), ["00000.0", "00000.1"]);
}

#[test]
fn what_is_released_can_be_taken_at_once() {
    let world = World::new();
    let (one, two) = (world.machine("one", 0), world.machine("two", 0));
    assert!(one.takes(0) && one.takes(1));
    drop(one);
    assert!(two.takes(0) && two.takes(1));
    two.leases.own.release(0);
    assert!(world.machine("three", 0).takes(0));
    drop(two);
    let four = world.machine("four", 0);
    assert!(four.takes(0) && four.takes(1));
    four.leases.finish(0).unwrap();
    four.leases.finish(1).unwrap();
    assert!(world.files().is_empty(), "all generations go");
}

#[test]
fn a_claim_that_says_nothing_is_waited_for_and_then_taken_over() {
    let world = World::new();
    let one = world.machine("one", 0);
    std::fs::write(world.folder.path().join("claims/00003.0"), b"half").unwrap();
    assert!(!one.takes(3));
    one.pass(101);
    assert!(one.takes(3));
}

#[test]
fn a_claim_finished_between_two_steps_of_a_beat_does_not_come_back() {
    let world = World::new();
    let one = world.machine("one", 0);
    assert!(one.takes(0));
    one.leases.finish(0).unwrap();
    assert!(one.leases.own.beat_one(0, 0, 1).unwrap(), "that is no loss");
    assert!(world.files().is_empty());
}

#[test]
fn claims_of_a_process_that_has_ended_here_are_free() {
    let world = World::new();
    let mut dead = world.machine("dead", 0);
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let mut process = serde_json::to_value(Process::this()).unwrap();
    process["pid"] = child.id().into();
    child.wait().unwrap();
    Arc::get_mut(&mut dead.leases.own).unwrap().claim.process = serde_json::from_value(process).unwrap();
    assert!(dead.takes(0));
    let other = world.machine("other", 0);
    let taken = other.leases.take(0).unwrap();
    assert_eq!(taken, Claim::Taken { ended: vec!["dead".to_owned()] }, "with no lease to wait for");
}

#[test]
fn a_thread_keeps_claims_up() {
    let world = World::new();
    let place: Arc<dyn ClaimPlace> = Arc::new(FolderClaims::open(world.folder.path(), "w").unwrap());
    let leases = Leases::new(Arc::clone(&place), "w".to_owned(), Duration::from_millis(20));
    assert_eq!(leases.take(0).unwrap(), Claim::Taken { ended: Vec::new() });
    // No timeout: the beat may take any time.
    while place.read("claims/00000.0").unwrap().and_then(|bytes| ClaimRecord::read(&bytes)).unwrap().beat == 0 {
        thread::yield_now();
    }
    drop(leases);
    assert!(ClaimRecord::read(&place.read("claims/00000.0").unwrap().unwrap()).unwrap().released);
}
