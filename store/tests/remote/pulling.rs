//! Getting caches, and parts of them, from a bucket.

use std::fs;

use hayloft_store::{Cache, Codec, Dtype, Existing, PullSelection, RemoteOptions, Section, StoreError, verify};

use super::server::{Fault, Server};
use super::{OBJECTS, cache, objects, options, pull, push};
use crate::support::{self, files_below, read_everything, settings, site};

#[test]
fn a_whole_cache_comes_back_byte_for_byte() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let back = tempfile::tempdir().unwrap();
    let pulled = pull("stories", back.path(), &PullSelection::default(), &options(&server)).unwrap();
    assert_eq!(files_below(back.path()), files_below(cache.path()));
    assert_eq!((pulled.shards_brought, pulled.shards_found, pulled.shards), (3, 0, 3));
    let bytes: u64 = files_below(cache.path()).values().map(|file| file.len() as u64).sum();
    assert_eq!(pulled.traffic.received, bytes);

    server.behaviour.take_read();
    let again = pull("stories", back.path(), &PullSelection::default(), &options(&server)).unwrap();
    assert_eq!((again.shards_brought, again.shards_found), (0, 3));
    assert_eq!(server.behaviour.take_read().into_keys().collect::<Vec<_>>(), ["stories/manifest.json"]);
}

#[test]
fn some_sites_make_a_cache_of_those_sites() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let (kept, left_out) = (site("blocks.3.hook_resid_pre"), site("blocks.3.hook_resid_post"));
    let back = tempfile::tempdir().unwrap();
    server.behaviour.take_read();
    let selection = PullSelection { sites: vec![kept.clone()], ..PullSelection::default() };
    let pulled = pull("stories", back.path(), &selection, &options(&server)).unwrap();
    assert_eq!(pulled.sites, 1);
    let read = server.behaviour.take_read();
    assert!(read.keys().all(|name| !name.ends_with(&left_out.file_name())), "{read:?}");
    assert_eq!(read.values().sum::<u64>(), pulled.traffic.received);

    assert_eq!(verify(back.path(), &mut |_| ()).unwrap().damages, []);
    let (ours, all) = (Cache::open(back.path()).unwrap(), Cache::open(cache.path()).unwrap());
    assert_eq!(ours.manifest().sites[..], all.manifest().sites[1..]);
    assert_eq!(ours.manifest().held, all.manifest().held);
    let (ours, all) = (read_everything(back.path()).unwrap(), read_everything(cache.path()).unwrap());
    for (ours, all) in ours.shards.iter().zip(&all.shards) {
        assert_eq!((&ours.tokens, &ours.predictions), (&all.tokens, &all.predictions));
        assert_eq!((&ours.activations[0], &ours.norms[0]), (&all.activations[1], &all.norms[1]));
    }
    // It can be written to as a cache of that site, and pushed as one.
    let mut narrow = settings(Dtype::Bf16, Codec::PLANES);
    narrow.sites = vec![kept];
    assert!(support::open(back.path(), &narrow, Existing::Resume).unwrap().is_complete(2));
    push(back.path(), "narrow", &options(&server)).unwrap();
    assert_eq!(objects(&server, "narrow"), files_below(back.path()));

    let unknown = PullSelection { sites: vec![site("blocks.9.x")], ..PullSelection::default() };
    let error = pull("stories", back.path(), &unknown, &options(&server)).unwrap_err();
    assert!(matches!(error, StoreError::UnknownSite { .. }), "{error}");
    let error = pull("stories", back.path(), &PullSelection::default(), &options(&server)).unwrap_err();
    assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == "sites"), "{error}");
}

#[test]
fn some_shards_make_a_cache_that_grows_with_the_next_pull() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let back = tempfile::tempdir().unwrap();
    let shards = |text: &str| PullSelection { shards: vec![text.parse().unwrap()], ..PullSelection::default() };
    pull("stories", back.path(), &shards("1"), &options(&server)).unwrap();
    assert_eq!(verify(back.path(), &mut |_| ()).unwrap().damages, []);
    assert_eq!(Cache::open(back.path()).unwrap().manifest().shards[0].index, 1);
    let pulled = pull("stories", back.path(), &shards("0..2"), &options(&server)).unwrap();
    assert_eq!((pulled.shards_brought, pulled.shards_found, pulled.shards), (1, 1, 2));
    let section = PullSelection { sections: vec![Section::Text], ..PullSelection::default() };
    pull("stories", back.path(), &section, &options(&server)).unwrap();
    assert_eq!(files_below(back.path()), files_below(cache.path()));
}

#[test]
fn a_pull_that_stopped_goes_on_at_the_byte() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let whole: u64 = files_below(cache.path()).values().map(|file| file.len() as u64).sum();
    let back = tempfile::tempdir().unwrap();
    let options = RemoteOptions {
        part_bytes: 100,
        jobs: 1,
        // So long a pause that nothing is tried again.
        pause: std::time::Duration::from_secs(60),
        ..options(&server)
    };
    let (mut stops, mut received) = (0, 0);
    loop {
        server.behaviour.fail_every(40, &[Fault::ServerError, Fault::Reset, Fault::Truncate, Fault::Stall]);
        server.behaviour.take_read();
        let pulled = pull("stories", back.path(), &PullSelection::default(), &options);
        received += server.behaviour.take_read().values().sum::<u64>();
        assert_eq!(pulled.is_ok(), back.path().join("manifest.json").exists(), "the manifest comes last");
        match pulled {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, StoreError::Remote { .. }), "{error}"),
        }
        for entry in fs::read_dir(back.path().join("shards")).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            assert!(name.starts_with('.') || entry.path().join("shard.json").exists(), "{name} is half there");
        }
        stops += 1;
        assert!(stops < 1000);
    }
    assert!(stops > 3, "{stops} stops are too few to show anything");
    assert_eq!(files_below(back.path()), files_below(cache.path()));
    // Each run asks for the JSON files again, and for nothing else that it had.
    let json = fs::metadata(cache.path().join("manifest.json")).unwrap().len()
        + fs::metadata(cache.path().join("plan.json")).unwrap().len()
        + (0..3)
            .map(|shard| fs::metadata(cache.path().join(format!("shards/0000{shard}/shard.json"))).unwrap().len())
            .sum::<u64>();
    assert!(received <= whole + stops * json, "{received} bytes came, of {whole}, in {stops} stops");
}

#[test]
fn what_an_earlier_pull_left_is_no_part_of_another_file() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let back = tempfile::tempdir().unwrap();
    let shard = back.path().join("shards/.00000.partial");
    fs::create_dir_all(&shard).unwrap();
    fs::write(shard.join(".tokens.parquet.partial"), "from elsewhere").unwrap();
    fs::write(shard.join("sequences.parquet"), "from elsewhere").unwrap();
    fs::write(shard.join(".blocks.3.hook_resid_pre.parquet.partial"), vec![0; 1 << 20]).unwrap();
    pull("stories", back.path(), &PullSelection::default(), &options(&server)).unwrap();
    assert_eq!(files_below(back.path()), files_below(cache.path()));
}

#[test]
fn a_damaged_object_is_refused_by_name_and_lands_nowhere() {
    let (server, cache) = (Server::start(), cache());
    let options = options(&server);
    for name in OBJECTS {
        let prefix = format!("damaged-{}", name.replace('/', "-"));
        push(cache.path(), &prefix, &options).unwrap();
        let path = server.bucket().join(&prefix).join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 4;
        fs::write(&path, bytes).unwrap();
        let back = tempfile::tempdir().unwrap();
        let error = pull(&prefix, back.path(), &PullSelection::default(), &options).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("Run `store push"), "{name}: {error}");
        assert!(!back.path().join(name).exists(), "{name}");
        assert!(!back.path().join("manifest.json").exists(), "{name}");
    }
}

#[test]
fn a_folder_with_another_plan_is_refused() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let other = tempfile::tempdir().unwrap();
    support::write_plan(other.path(), &vec![vec![vec![3]]]);
    let before = files_below(other.path());
    let error = pull("stories", other.path(), &PullSelection::default(), &options(&server)).unwrap_err();
    assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == "plan_blake3"), "{error}");
    assert_eq!(files_below(other.path()), before);
    let error = pull("nothing", other.path(), &PullSelection::default(), &options(&server)).unwrap_err().to_string();
    assert!(error.contains("s3://farm/nothing/manifest.json") && error.contains("AWS_ENDPOINT_URL"), "{error}");
}
