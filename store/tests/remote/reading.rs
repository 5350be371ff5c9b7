//! Reading caches where they are.

use std::path::Path;

use hayloft_store::{Cache, RemoteOptions, SiteName, StoreError};

use super::server::Server;
use super::{cache, location, options, push};
use crate::support::{files_below, site, two_sites};

/// Every number of a site, and of the tables, in order.
fn numbers(cache: &Cache, site: &SiteName, ahead: bool) -> Vec<String> {
    let mut numbers = Vec::new();
    for place in 0..cache.shards() {
        let shard = cache.shard(place).unwrap();
        let reader = shard.activations(site).unwrap();
        if ahead {
            cache.read_ahead(place + 1, site);
        }
        let mut bits = Vec::new();
        for row_group in 0..reader.row_groups() {
            reader.read(row_group, &mut bits).unwrap();
            numbers.push(format!("{bits:?}"));
        }
        numbers.push(format!("{:?} {:?} {:?}", shard.tokens(), shard.predictions(), shard.norms(site)));
    }
    numbers
}

fn on_shelf(server: &Server, shelf: &Path) -> RemoteOptions {
    RemoteOptions { folder: Some(shelf.to_owned()), ..options(server) }
}

fn bytes_on(shelf: &Path) -> u64 {
    files_below(shelf).iter().filter(|(name, _)| name.contains("/shards/")).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn the_same_numbers_come_and_only_the_bytes_of_the_asked_site_move() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let asked = site("blocks.3.hook_resid_pre");
    let expected = numbers(&Cache::open(cache.path()).unwrap(), &asked, false);
    for ahead in [false, true] {
        let shelf = tempfile::tempdir().unwrap();
        server.behaviour.take_read();
        let remote = Cache::open_location(&location("stories"), &on_shelf(&server, shelf.path())).unwrap();
        assert_eq!(numbers(&remote, &asked, ahead), expected);
        let moved: u64 = files_below(cache.path())
            .iter()
            .filter(|(name, _)| !name.starts_with("plan") && !name.contains("hook_resid_post"))
            .map(|(_, bytes)| bytes.len() as u64)
            .sum();
        let traffic = remote.traffic().unwrap();
        assert_eq!((traffic.received, traffic.sent, traffic.repeated), (moved, 0, 0));
        // One request for the manifest, and one for each of four files of three shards.
        assert_eq!(traffic.requests, 13);
        assert_eq!(server.behaviour.take_read().values().sum::<u64>(), moved);

        // A file that is there need not come again, whichever reader asks.
        let again = Cache::open_location(&location("stories"), &on_shelf(&server, shelf.path())).unwrap();
        assert_eq!(numbers(&again, &asked, ahead), expected);
        let manifest = std::fs::metadata(cache.path().join("manifest.json")).unwrap().len();
        assert_eq!(again.traffic().unwrap().received, manifest);
    }
}

#[test]
fn the_shelf_stays_within_its_limit_and_the_numbers_the_same() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let local = Cache::open(cache.path()).unwrap();
    let largest_shard: u64 =
        local.manifest().shards.iter().map(|shard| shard.files.iter().map(|file| file.bytes).sum()).max().unwrap();
    let shelf = tempfile::tempdir().unwrap();
    let options = RemoteOptions { limit: largest_shard * 11 / 10, ..on_shelf(&server, shelf.path()) };
    let remote = Cache::open_location(&location("stories"), &options).unwrap();
    for _ in 0..2 {
        for site in two_sites() {
            assert_eq!(numbers(&remote, &site, true), numbers(&local, &site, false));
            assert!(bytes_on(shelf.path()) <= options.limit, "{} bytes", bytes_on(shelf.path()));
        }
    }
    let all: u64 = files_below(&cache.path().join("shards")).values().map(|bytes| bytes.len() as u64).sum();
    assert!(remote.traffic().unwrap().received > all * 3 / 2, "what made room came again");

    let tiny = RemoteOptions { limit: 100, ..options };
    let remote = Cache::open_location(&location("stories"), &tiny).unwrap();
    let error = remote.shard(0).unwrap_err().to_string();
    assert!(error.contains("--cache-limit"), "{error}");
}

#[test]
fn several_share_one_shelf_and_each_file_comes_once() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let shelf = tempfile::tempdir().unwrap();
    let asked = site("blocks.3.hook_resid_pre");
    let expected = numbers(&Cache::open(cache.path()).unwrap(), &asked, false);
    server.behaviour.take_read();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let options = on_shelf(&server, shelf.path());
                let remote = Cache::open_location(&location("stories"), &options).unwrap();
                assert_eq!(numbers(&remote, &asked, true), expected);
            });
        }
    });
    let files = files_below(cache.path());
    for (name, read) in server.behaviour.take_read() {
        let name = name.strip_prefix("stories/").unwrap();
        let times = if name == "manifest.json" { 4 } else { 1 };
        assert_eq!(read, times * files[name].len() as u64, "{name}");
    }
}

#[test]
fn a_damaged_object_gives_no_numbers() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let name = "shards/00000/blocks.3.hook_resid_pre.parquet";
    let path = server.bucket().join("stories").join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let shelf = tempfile::tempdir().unwrap();
    let options = on_shelf(&server, shelf.path());
    let remote = Cache::open_location(&location("stories"), &options).unwrap();
    let shard = remote.shard(0).unwrap();
    let error = shard.activations(&site("blocks.3.hook_resid_pre")).unwrap_err();
    assert!(matches!(&error, StoreError::Remote { url, .. } if url.ends_with(name)), "{error}");
    assert!(shard.activations(&site("blocks.3.hook_resid_post")).is_ok());
    assert_eq!(remote.traffic().unwrap().repeated, 1);
    assert!(files_below(shelf.path()).keys().all(|name| !name.contains("resid_pre")), "nothing of it is kept");
}

#[test]
fn a_cache_that_was_pushed_anew_is_read_anew() {
    let (server, first) = (Server::start(), cache());
    push(first.path(), "stories", &options(&server)).unwrap();
    let shelf = tempfile::tempdir().unwrap();
    let asked = site("blocks.3.hook_resid_pre");
    let remote = Cache::open_location(&location("stories"), &on_shelf(&server, shelf.path())).unwrap();
    numbers(&remote, &asked, false);
    std::fs::remove_dir_all(server.bucket().join("stories")).unwrap();
    let second = tempfile::tempdir().unwrap();
    crate::support::harvest(
        second.path(),
        &crate::support::settings(hayloft_store::Dtype::F32, hayloft_store::Codec::RAW),
    );
    push(second.path(), "stories", &options(&server)).unwrap();
    let remote = Cache::open_location(&location("stories"), &on_shelf(&server, shelf.path())).unwrap();
    let expected = numbers(&Cache::open(second.path()).unwrap(), &asked, false);
    assert_eq!(numbers(&remote, &asked, false), expected);
}
