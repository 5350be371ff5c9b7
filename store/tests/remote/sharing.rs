//! Several workers that fill one cache in a bucket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hayloft_store::{
    CacheWriter, Codec, Dtype, HarvestSettings, NonFinite, RemoteOptions, Result, Sharing, StoreError,
};

use super::server::{Fault, Server};
use super::{cache, location, objects, options, push};
use crate::support::{self, files_below, lengths, settings, work, write_plan};

const SHARING: Sharing = Sharing { lease: Sharing::SHORTEST };

fn bf16() -> HarvestSettings {
    settings(Dtype::Bf16, Codec::PLANES)
}

fn join(options: &RemoteOptions, scratch: &Path, settings: HarvestSettings) -> Result<CacheWriter> {
    CacheWriter::open_bucket(&location("farm"), options, scratch, settings, NonFinite::Refuse, SHARING)
}

/// A plan in the bucket, of which no shard is filled.
fn planned(options: &RemoteOptions) {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &lengths());
    let pushed = push(folder.path(), "farm", options).unwrap();
    assert_eq!((pushed.shards, pushed.manifest_blake3), (0, None));
}

#[test]
fn workers_fill_a_bucket_as_one_would_have_pushed_it() {
    let (server, scratch, whole) = (Server::start(), tempfile::tempdir().unwrap(), cache());
    let options = options(&server);
    planned(&options);
    // Every tenth answer is lost or late.
    server.behaviour.fail_every(10, &[Fault::Reset, Fault::LostAnswer, Fault::ServerError]);
    let mut filled: Vec<usize> = thread::scope(|scope| {
        let worker = || work(join(&options, scratch.path(), bf16()).unwrap()).unwrap();
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    filled.sort_unstable();
    filled.dedup();
    assert_eq!(filled, [0, 1, 2]);
    assert_eq!(objects(&server, "farm"), files_below(whole.path()), "and no claim is left");
    assert!(files_below(scratch.path()).is_empty(), "nor anything in the scratch folder");
    // Who comes late finds it done.
    assert_eq!(work(join(&options, scratch.path(), bf16()).unwrap()).unwrap(), Vec::<usize>::new());
    assert_eq!(objects(&server, "farm"), files_below(whole.path()));
}

#[test]
fn a_bucket_that_is_away_for_a_while_is_waited_for() {
    let (server, scratch, whole) = (Server::start(), tempfile::tempdir().unwrap(), cache());
    let options = options(&server);
    planned(&options);
    let writer = join(&options, scratch.path(), bf16()).unwrap();
    server.behaviour.fail_every(1, &[Fault::ServerError]);
    let failed = || server.behaviour.failed.load(Ordering::SeqCst);
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(writer));
        while failed() == 0 && !worker.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        // Longer than a lease, and than the tries of a push take.
        thread::sleep(SHARING.lease * 3 / 2);
        server.behaviour.fail_every(0, &[]);
        assert_eq!(worker.join().unwrap().unwrap().len(), 3);
    });
    assert!(failed() > 0);
    assert_eq!(objects(&server, "farm"), files_below(whole.path()));
}

#[test]
fn a_worker_that_dies_between_a_shards_files_leaves_it_to_the_next() {
    let (server, scratch, whole) = (Server::start(), tempfile::tempdir().unwrap(), cache());
    let options = options(&server);
    planned(&options);
    // Its claim that it is whole was never written, and a file is half there.
    let there = server.bucket().join("farm/shards/00001");
    std::fs::create_dir_all(&there).unwrap();
    for name in ["shard.json", "tokens.parquet"] {
        let bytes = std::fs::read(whole.path().join("shards/00001").join(name)).unwrap();
        let kept = if name == "shard.json" { bytes.len() } else { bytes.len() / 2 };
        std::fs::write(there.join(name), &bytes[..kept]).unwrap();
    }
    assert_eq!(work(join(&options, scratch.path(), bf16()).unwrap()).unwrap().len(), 3);
    assert_eq!(objects(&server, "farm"), files_below(whole.path()));
}

/// The files of a shard as another kind of hardware makes them: the same plan and settings, other bits.
fn made_elsewhere(shard: usize) -> BTreeMap<String, Vec<u8>> {
    let other = tempfile::tempdir().unwrap();
    write_plan(other.path(), &lengths());
    let alone = support::open(other.path(), &bf16(), hayloft_store::Existing::Refuse).unwrap();
    support::fill_begun(&alone, alone.begin_shard(shard).unwrap(), 1).unwrap();
    files_below(&other.path().join(format!("shards/{shard:05}")))
}

/// Puts files where they would be in the bucket.
fn put(server: &Server, folder: &str, files: &BTreeMap<String, Vec<u8>>) {
    let folder = server.bucket().join("farm").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn pull_and_verify(options: &RemoteOptions) {
    let pulled = tempfile::tempdir().unwrap();
    super::pull("farm", pulled.path(), &hayloft_store::PullSelection::default(), options).unwrap();
    assert_eq!(hayloft_store::verify(pulled.path(), &mut |_| ()).unwrap().damages, []);
}

#[test]
fn wherever_a_worker_on_other_hardware_dies_the_next_leaves_a_whole_shard_of_one_of_the_two() {
    let (whole, elsewhere) = (cache(), made_elsewhere(0));
    let ours = files_below(&whole.path().join("shards/00000"));
    let names: Vec<&String> = elsewhere.keys().collect();
    let some = |count: usize| -> BTreeMap<String, Vec<u8>> {
        names.iter().take(count).map(|name| ((*name).clone(), elsewhere[*name].clone())).collect()
    };
    let all = names.len();
    // Files put up under the worker's name, whether it was decided on, files copied to the shard's own name.
    let points = [(0, false, 0), (1, false, 0), (all, false, 0), (all, true, 0), (all, true, 2), (all, true, all)];
    // A record without its files, and some files without it, as other writers leave them.
    let others = [(0, false, 2), (0, false, all)];
    for (up, decided, copied) in points.into_iter().chain(others) {
        let (server, scratch) = (Server::start(), tempfile::tempdir().unwrap());
        let options = options(&server);
        planned(&options);
        put(&server, "claims/00000.0123456789abcdef", &some(up));
        put(&server, "shards/00000", &some(copied));
        if decided {
            std::fs::write(server.bucket().join("farm/claims/00000.decided"), "0123456789abcdef").unwrap();
        }
        let mut filled = work(join(&options, scratch.path(), bf16()).unwrap()).unwrap();
        filled.sort_unstable();
        assert_eq!(filled, if decided { vec![1, 2] } else { vec![0, 1, 2] }, "what is decided is not filled again");
        let there = objects(&server, "farm");
        let expected = if decided { &elsewhere } else { &ours };
        for (name, bytes) in expected {
            assert!(there[&format!("shards/00000/{name}")] == *bytes, "{name} of ({up}, {decided}, {copied})");
        }
        assert!(there.keys().all(|name| !name.starts_with("claims/")), "no claim is left: {:?}", there.keys());
        pull_and_verify(&options);
    }
}

#[test]
fn a_worker_that_comes_late_with_other_bytes_drops_them() {
    for run_is_over in [false, true] {
        let (server, scratch) = (Server::start(), tempfile::tempdir().unwrap());
        let options = options(&server);
        planned(&options);
        // It was silent while it filled shard 0, was given up for dead, and another has filled it, or all of the cache.
        let late = join(&options, scratch.path(), bf16()).unwrap();
        assert_eq!(late.queue(0..1).unwrap().next(&|| false).unwrap(), Some(0));
        let half = late.begin_shard(0).unwrap();
        std::fs::remove_dir_all(server.bucket().join("farm/claims")).unwrap();
        let fast = join(&options, scratch.path(), bf16()).unwrap();
        if run_is_over {
            work(fast).unwrap();
        } else {
            assert_eq!(fast.queue(0..1).unwrap().next(&|| false).unwrap(), Some(0));
            support::fill_shard(&fast, 0).unwrap();
        }
        let before = objects(&server, "farm/shards/00000");
        support::fill_begun(&late, half, 1).unwrap();
        assert_eq!(objects(&server, "farm/shards/00000"), before);
        work(late).unwrap();
        assert_eq!(objects(&server, "farm"), files_below(cache().path()));
    }
}

#[test]
fn what_a_service_does_not_copy_is_sent() {
    let (server, scratch, whole) = (Server::start(), tempfile::tempdir().unwrap(), cache());
    let options = options(&server);
    server.behaviour.refuse_copies.store(true, Ordering::SeqCst);
    planned(&options);
    // One shard was decided on by a worker that is gone: its files are brought here to be sent.
    put(&server, "claims/00000.0123456789abcdef", &files_below(&whole.path().join("shards/00000")));
    std::fs::write(server.bucket().join("farm/claims/00000.decided"), "0123456789abcdef").unwrap();
    work(join(&options, scratch.path(), bf16()).unwrap()).unwrap();
    assert_eq!(objects(&server, "farm"), files_below(whole.path()));
    assert!(files_below(scratch.path()).is_empty());
}

#[test]
fn a_cache_that_workers_are_filling_is_not_pushed_to() {
    let (server, scratch, whole) = (Server::start(), tempfile::tempdir().unwrap(), cache());
    let options = options(&server);
    planned(&options);
    let worker = join(&options, scratch.path(), bf16()).unwrap();
    let error = push(whole.path(), "farm", &options).unwrap_err().to_string();
    assert!(error.contains("claims/session.json") && error.contains("--share"), "{error}");
    work(worker).unwrap();
    push(whole.path(), "farm", &options).unwrap();
}

#[test]
fn a_bucket_without_a_plan_and_one_that_is_read_only_are_refused() {
    let (server, scratch) = (Server::start(), tempfile::tempdir().unwrap());
    let error = join(&options(&server), scratch.path(), bf16()).unwrap_err();
    assert!(matches!(error, StoreError::MissingPlan { .. }), "{error}");
    let web = "https://example.org/farm".parse().unwrap();
    let error = CacheWriter::open_bucket(&web, &options(&server), scratch.path(), bf16(), NonFinite::Refuse, SHARING);
    assert!(error.unwrap_err().to_string().contains("read-only"));
}

#[test]
fn a_worker_asks_once_for_all_shards_and_not_for_each() {
    let (server, scratch, plan) = (Server::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = options(&server);
    write_plan(plan.path(), &vec![vec![vec![2]]; 120]);
    push(plan.path(), "farm", &options).unwrap();
    // All but the last are whole.
    let claims = (0..119).map(|shard| (format!("{shard:05}.whole"), b"0".to_vec())).collect();
    put(&server, "claims", &claims);
    let before = server.behaviour.requests.load(Ordering::SeqCst);
    let writer = join(&options, scratch.path(), bf16()).unwrap();
    let mut queue = writer.queue(0..120).unwrap();
    assert_eq!(queue.next(&|| false).unwrap(), Some(119));
    let requests = server.behaviour.requests.load(Ordering::SeqCst) - before;
    // Beats of the claim may be among them; one for each shard would be more.
    assert!(requests <= 60, "{requests}");
}
