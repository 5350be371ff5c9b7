//! Services that do not keep the conditions of writes, and objects that are not what they should be.

use std::fs;
use std::sync::atomic::Ordering;

use hayloft_store::{CacheWriter, Codec, Dtype, Existing, NonFinite, RemoteOptions, Sharing};

use super::server::Server;
use super::{OBJECTS, cache, location, objects, options, push};
use crate::support::{self, files_below, lengths, settings, write_plan};

#[test]
fn a_service_that_ignores_conditional_writes_is_not_written_to() {
    let (server, whole, scratch) = (Server::start(), cache(), tempfile::tempdir().unwrap());
    server.behaviour.ignores_conditions.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let error = push(whole.path(), "stories", &options(&server)).unwrap_err().to_string();
                assert!(error.contains("this service ignores conditional writes"), "{error}");
            });
        }
    });
    assert!(objects(&server, "stories").is_empty(), "and nothing stays that it was tried with");

    // A plan that was brought there in another way.
    for (name, bytes) in files_below(whole.path()) {
        if name.starts_with("plan") {
            let path = server.bucket().join("farm").join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let settings = settings(Dtype::Bf16, Codec::PLANES);
    let sharing = Sharing { lease: Sharing::SHORTEST };
    let joined = CacheWriter::open_bucket(
        &location("farm"),
        &options(&server),
        scratch.path(),
        settings,
        NonFinite::Refuse,
        sharing,
    );
    let error = joined.and_then(support::work).unwrap_err().to_string();
    assert!(error.contains("this service ignores conditional writes"), "{error}");
}

#[test]
fn pushing_again_mends_what_is_damaged_missing_or_cut_short() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let files = files_below(cache.path());
    for name in OBJECTS {
        let path = server.bucket().join("stories").join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[50] ^= 4;
        for damaged in [&flipped[..], &whole[..whole.len() / 2]] {
            fs::write(&path, damaged).unwrap();
            let pushed = push(cache.path(), "stories", &options(&server)).unwrap();
            assert_eq!((pushed.files_mended, pushed.files_written), (1, 1), "{name}");
            assert_eq!(objects(&server, "stories"), files, "{name}");
        }
        fs::remove_file(&path).unwrap();
        let pushed = push(cache.path(), "stories", &options(&server)).unwrap();
        assert_eq!((pushed.files_mended, pushed.files_written), (0, 1), "{name}");
        assert_eq!(objects(&server, "stories"), files, "{name}");
    }
}

#[test]
fn a_damaged_manifest_is_made_again_with_the_shards_of_others() {
    let (server, whole) = (Server::start(), cache());
    push(whole.path(), "stories", &options(&server)).unwrap();
    let ours = tempfile::tempdir().unwrap();
    write_plan(ours.path(), &lengths());
    let mut writer = support::open(ours.path(), &settings(Dtype::Bf16, Codec::PLANES), Existing::Refuse).unwrap();
    let filled = support::fill_shard(&writer, 1).unwrap();
    writer.record(filled).unwrap();
    writer.finish().unwrap();
    let path = server.bucket().join("stories/manifest.json");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let pushed = push(ours.path(), "stories", &options(&server)).unwrap();
    assert_eq!((pushed.shards, pushed.shards_there, pushed.files_mended), (1, 3, 1));
    assert_eq!(objects(&server, "stories"), files_below(whole.path()));
}

/// A cache of the same plan and settings, of equal sizes, with other numbers.
fn other_numbers() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &lengths());
    let raw = settings(Dtype::F32, Codec::RAW);
    let mut writer = support::open(folder.path(), &raw, Existing::Refuse).unwrap();
    for index in 0..lengths().len() {
        let mut shard = writer.begin_shard(index).unwrap();
        for (row_group, rows) in shard.row_group_rows().to_vec().into_iter().enumerate() {
            for site in &raw.sites {
                shard.write_activations(site, support::bits(&raw, 9 + index, site, row_group, rows)).unwrap();
            }
        }
        let predictions = support::predictions(&raw, &writer.plan_shard(index).unwrap().0);
        let filled = shard.finish(predictions).unwrap();
        writer.record(filled).unwrap();
    }
    writer.finish().unwrap();
    folder
}

#[test]
fn raw_files_of_equal_size_are_told_apart_by_their_hashes() {
    let (other, ours) = (other_numbers(), tempfile::tempdir().unwrap());
    support::harvest(ours.path(), &settings(Dtype::F32, Codec::RAW));
    // Whether the files are read back, or the hashes that the service keeps beside them are compared.
    for part_bytes in [8 << 20, 100] {
        let server = Server::start();
        let options = RemoteOptions { part_bytes, ..options(&server) };
        push(other.path(), "stories", &options).unwrap();
        if part_bytes > 100 {
            server.forget_metadata();
        }
        fs::remove_file(server.bucket().join("stories/manifest.json")).unwrap();
        for shard in 0..lengths().len() {
            fs::remove_file(server.bucket().join(format!("stories/shards/{shard:05}/shard.json"))).unwrap();
        }
        server.behaviour.take_read();
        let pushed = push(ours.path(), "stories", &options).unwrap();
        let read: Vec<String> = server.behaviour.take_read().into_keys().filter(|name| name.contains("hook")).collect();
        assert_eq!(read.is_empty(), part_bytes == 100, "{read:?}");
        assert!(pushed.files_mended >= 6, "{pushed:?}");
        assert_eq!(objects(&server, "stories"), files_below(ours.path()));
    }
}
