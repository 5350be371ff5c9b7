//! Several workers that fill one cache in a folder.

use std::fs;
use std::path::Path;
use std::thread;

use crate::support::{Lengths, files_below, fill, fill_begun, fill_shard, identity, open, settings, work, write_plan};
use hayloft_store::{
    CacheWriter, Codec, Dtype, Existing, HarvestSettings, NonFinite, Result, Sharing, StoreError, verify,
};

const SHARING: Sharing = Sharing { lease: Sharing::SHORTEST };

/// A dozen shards.
fn many() -> Lengths {
    (0..12u32).map(|shard| vec![vec![9, 1 + shard % 5], vec![3]]).collect()
}

fn bf16() -> HarvestSettings {
    settings(Dtype::Bf16, Codec::PLANES)
}

fn join(folder: &Path, settings: HarvestSettings) -> Result<CacheWriter> {
    CacheWriter::open_shared(folder, settings, NonFinite::Refuse, SHARING)
}

/// What one writer alone makes.
fn expected() -> std::collections::BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    fill(open(folder.path(), &bf16(), Existing::Refuse).unwrap()).unwrap();
    files_below(folder.path())
}

#[test]
fn workers_share_the_shards_and_leave_what_one_would_have_left() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let mut filled: Vec<usize> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| work(join(folder.path(), bf16()).unwrap()).unwrap())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    filled.sort_unstable();
    assert_eq!(filled, (0..12).collect::<Vec<_>>(), "each shard is filled once");
    assert_eq!(files_below(folder.path()), expected(), "and no claim is left");
    assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);
}

#[test]
fn a_worker_that_comes_late_finds_all_done_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    work(join(folder.path(), bf16()).unwrap()).unwrap();
    assert_eq!(work(join(folder.path(), bf16()).unwrap()).unwrap(), Vec::<usize>::new());
    assert_eq!(files_below(folder.path()), expected());
}

#[test]
fn what_a_worker_leaves_unfinished_is_another_ones() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let writer = join(folder.path(), bf16()).unwrap();
    let mut queue = writer.queue(0..12).unwrap();
    let first = queue.next(&|| false).unwrap().unwrap();
    let half = writer.begin_shard(first).unwrap();
    let second = queue.next(&|| false).unwrap().unwrap();
    // A folder that a worker left who had no time to clear up.
    let abandoned = folder.path().join(format!("shards/.{second:05}.0123456789abcdef.partial"));
    fs::create_dir(&abandoned).unwrap();
    fs::write(abandoned.join("half"), "written").unwrap();
    drop((half, queue));
    drop(writer);
    let there: Vec<_> = fs::read_dir(folder.path().join("shards")).unwrap().collect();
    assert_eq!(there.len(), 1, "{there:?}");
    // And one who was killed while it wrote the manifest.
    fs::write(folder.path().join(".manifest.json.0123456789abcdef.partial"), "{").unwrap();
    assert_eq!(work(join(folder.path(), bf16()).unwrap()).unwrap().len(), 12);
    assert_eq!(files_below(folder.path()), expected());
}

#[test]
fn of_two_who_fill_one_shard_the_first_gives_it_its_name() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let (slow, fast) = (join(folder.path(), bf16()).unwrap(), join(folder.path(), bf16()).unwrap());
    // As when the slow one was silent for longer than its lease.
    let mut half = slow.begin_shard(3).unwrap();
    let done = fill_shard(&fast, 3).unwrap();
    let settings = slow.settings().clone();
    for (row_group, rows) in half.row_group_rows().to_vec().into_iter().enumerate() {
        for site in &settings.sites {
            half.write_activations(site, crate::support::bits(&settings, 3, site, row_group, rows)).unwrap();
        }
    }
    let (sequences, _) = slow.plan_shard(3).unwrap();
    let late = half.finish(crate::support::predictions(&settings, &sequences)).unwrap();
    assert_eq!(late.contents(), done.contents());
    assert_eq!(fs::read_dir(folder.path().join("shards")).unwrap().count(), 1, "nothing else stays");
    drop((slow, fast));
    work(join(folder.path(), bf16()).unwrap()).unwrap();
    assert_eq!(files_below(folder.path()), expected());
}

/// What is claimed here is as good as given up, as after a silence that was longer than the lease; its owner does not know.
fn lose_claims(folder: &Path) {
    for claim in fs::read_dir(folder.join("claims")).unwrap() {
        let path = claim.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"released\":false", "\"released\":true")).unwrap();
    }
}

#[test]
fn a_worker_that_stood_still_goes_on_where_it_was_first_or_not() {
    for late_is_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &many());
        // One that does not look at its claims while this lasts.
        let sharing = Sharing { lease: Sharing::LONGEST };
        let mut slow = CacheWriter::open_shared(folder.path(), bf16(), NonFinite::Refuse, sharing).unwrap();
        assert_eq!(slow.queue(3..4).unwrap().next(&|| false).unwrap(), Some(3));
        let half = slow.begin_shard(3).unwrap();
        lose_claims(folder.path());
        let mut fast = join(folder.path(), bf16()).unwrap();
        assert_eq!(fast.queue(3..4).unwrap().next(&|| false).unwrap(), Some(3), "it is taken over");
        let other = fast.begin_shard(3).unwrap();
        if late_is_first {
            slow.record(fill_begun(&slow, half, 0).unwrap()).unwrap();
            fast.record(fill_begun(&fast, other, 0).unwrap()).unwrap();
        } else {
            fast.record(fill_begun(&fast, other, 0).unwrap()).unwrap();
            slow.record(fill_begun(&slow, half, 0).unwrap()).unwrap();
        }
        // Both go on.
        thread::scope(|scope| {
            let other = scope.spawn(|| work(fast).unwrap());
            work(slow).unwrap();
            other.join().unwrap();
        });
        assert_eq!(files_below(folder.path()), expected(), "late is first: {late_is_first}");
    }
}

#[test]
fn a_folder_that_was_taken_away_is_no_error_where_the_shard_is_there() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let (slow, fast) = (join(folder.path(), bf16()).unwrap(), join(folder.path(), bf16()).unwrap());
    let take_away = || {
        for entry in fs::read_dir(folder.path().join("shards")).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with('.') {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    };
    let half = slow.begin_shard(3).unwrap();
    take_away();
    let done = fill_shard(&fast, 3).unwrap();
    assert_eq!(fill_begun(&slow, half, 0).unwrap().contents(), done.contents());
    // Where it is not, that is an error.
    let half = slow.begin_shard(4).unwrap();
    take_away();
    let error = fill_begun(&slow, half, 0).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_shard_that_is_not_whole_is_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    work(join(folder.path(), bf16()).unwrap()).unwrap();
    fs::write(folder.path().join("shards/00004/shard.json"), "damaged").unwrap();
    fs::remove_file(folder.path().join("shards/00007/tokens.parquet")).unwrap();
    let mut filled = work(join(folder.path(), bf16()).unwrap()).unwrap();
    filled.sort_unstable();
    assert_eq!(filled, [4, 7]);
    assert_eq!(files_below(folder.path()), expected());
}

#[test]
fn one_who_wants_the_cache_alone_and_those_who_share_it_keep_each_other_out() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let worker = join(folder.path(), bf16()).unwrap();
    assert!(matches!(open(folder.path(), &bf16(), Existing::Resume), Err(StoreError::Locked { .. })));
    drop(worker);
    let alone = open(folder.path(), &bf16(), Existing::Resume).unwrap();
    assert!(!folder.path().join("claims").exists(), "of workers who are gone");
    assert!(matches!(join(folder.path(), bf16()), Err(StoreError::Locked { .. })));
    drop(alone);
    join(folder.path(), bf16()).unwrap();
}

#[test]
fn a_worker_with_another_model_or_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let first = join(folder.path(), bf16()).unwrap();
    let mut other = bf16();
    other.model.identity = Some(identity("ff"));
    let error = join(folder.path(), other).unwrap_err();
    assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == "model.tensors"), "{error}");
    drop(first);
    let session = folder.path().join("claims/session.json");
    let text = fs::read_to_string(&session).unwrap();
    fs::write(&session, text.replace(env!("CARGO_PKG_VERSION"), "0.0.1")).unwrap();
    let error = join(folder.path(), bf16()).unwrap_err();
    assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == "hayloft_version"), "{error}");
    assert!(error.to_string().contains("claims/session.json"), "{error}");
}

#[test]
fn without_a_plan_there_is_nothing_to_share() {
    let folder = tempfile::tempdir().unwrap();
    let error = join(folder.path(), bf16()).unwrap_err();
    assert!(matches!(error, StoreError::MissingPlan { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn one_who_is_told_to_stop_stops_while_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &many());
    let (holder, waiter) = (join(folder.path(), bf16()).unwrap(), join(folder.path(), bf16()).unwrap());
    let mut queue = holder.queue(0..1).unwrap();
    assert_eq!(queue.next(&|| false).unwrap(), Some(0));
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 5
    };
    assert_eq!(waiter.queue(0..1).unwrap().next(&stop).unwrap(), None);
}
