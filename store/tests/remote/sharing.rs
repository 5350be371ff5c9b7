//! Several workers that fill one cache in a bucket.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hayloft_store::{
    CacheWriter, Codec, Dtype, HarvestSettings, NonFinite, RemoteOptions, Result, Sharing, StoreError,
};

use crate::server::{Fault, Server};
use crate::support::{self, files_below, lengths, settings, work, write_plan};
use crate::{cache, location, objects, options, push};

const SHARING: Sharing = Sharing { lease: Sharing::SHORTEST };

fn bf16() -> HarvestSettings {
    settings(Dtype::Bf16, Codec::Planes)
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

#[test]
fn what_another_worker_made_of_a_shard_stays() {
    let (server, scratch, whole) = (Server::start(), tempfile::tempdir().unwrap(), cache());
    let options = options(&server);
    planned(&options);
    let writer = join(&options, scratch.path(), bf16()).unwrap();
    // On other hardware: the same plan and settings, other bits.
    let other = tempfile::tempdir().unwrap();
    write_plan(other.path(), &lengths());
    let alone = support::open(other.path(), &bf16(), hayloft_store::Existing::Refuse).unwrap();
    let shard = alone.begin_shard(0).and_then(|mut shard| {
        let settings = alone.settings();
        for (row_group, rows) in shard.row_group_rows().to_vec().into_iter().enumerate() {
            for site in &settings.sites {
                shard.write_activations(site, support::bits(settings, 9, site, row_group, rows))?;
            }
        }
        shard.finish(support::predictions(settings, &alone.plan_shard(0)?.0))
    });
    drop((shard.unwrap(), alone));
    let to = server.bucket().join("farm/shards/00000");
    std::fs::create_dir_all(&to).unwrap();
    for (name, bytes) in files_below(&other.path().join("shards/00000")) {
        std::fs::write(to.join(name), bytes).unwrap();
    }
    let whole_there = server.bucket().join("farm/claims/00000.whole");
    // The other ended in the middle: neither's bytes may be mixed with the other's.
    let error = work(join(&options, scratch.path(), bf16()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("other hardware"), "{error}");
    std::fs::write(whole_there, blake3::hash(&std::fs::read(to.join("shard.json")).unwrap()).to_hex().as_bytes())
        .unwrap();
    work(writer).unwrap();
    let there = objects(&server, "farm");
    let site = "shards/00000/blocks.3.hook_resid_pre.parquet";
    assert_eq!(there[site], files_below(other.path())[site]);
    let pulled = tempfile::tempdir().unwrap();
    crate::pull("farm", pulled.path(), &hayloft_store::PullSelection::default(), &options).unwrap();
    assert_eq!(hayloft_store::verify(pulled.path(), &mut |_| ()).unwrap().damages, []);
    assert_ne!(there[site], files_below(whole.path())[site]);
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
