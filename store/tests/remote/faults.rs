//! A server of which every tenth request fails, in each of the ways that requests fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hayloft_store::{Cache, PullSelection, RemoteOptions, StoreError};

use crate::server::{Fault, Server};
use crate::support::{files_below, two_sites};
use crate::{cache, location, objects, options, pull, push};

const KINDS: [Fault; 5] = [Fault::ServerError, Fault::Stall, Fault::Truncate, Fault::Reset, Fault::LostAnswer];

/// Options for a server that does not answer now and then. An answer that takes longer is asked for again, as often as it fails.
fn impatient(server: &Server) -> RemoteOptions {
    RemoteOptions { timeout: Duration::from_millis(700), attempts: 20, ..options(server) }
}

#[test]
fn with_every_tenth_request_failing_all_is_as_without() {
    let cache = cache();
    for kinds in KINDS.iter().map(std::slice::from_ref).chain([&KINDS[..]]) {
        let server = Server::start();
        server.behaviour.fail_every(10, kinds);
        // Small parts, so that there are many requests to fail.
        let options = RemoteOptions { part_bytes: 900, ..impatient(&server) };
        push(cache.path(), "stories", &options).unwrap_or_else(|error| panic!("{kinds:?}: {error}"));
        assert_eq!(objects(&server, "stories"), files_below(cache.path()), "{kinds:?}");

        let back = tempfile::tempdir().unwrap();
        pull("stories", back.path(), &PullSelection::default(), &options)
            .unwrap_or_else(|error| panic!("{kinds:?}: {error}"));
        assert_eq!(files_below(back.path()), files_below(cache.path()), "{kinds:?}");

        let shelf = tempfile::tempdir().unwrap();
        let reading = RemoteOptions { folder: Some(shelf.path().to_owned()), ..options };
        let (remote, local) =
            (Cache::open_location(&location("stories"), &reading).unwrap(), Cache::open(cache.path()).unwrap());
        for place in 0..local.shards() {
            for site in two_sites() {
                let [theirs, ours] = [&remote, &local].map(|cache| {
                    let mut bits = Vec::new();
                    cache.shard(place).unwrap().activations(&site).unwrap().read(0, &mut bits).unwrap();
                    bits
                });
                assert_eq!(theirs, ours, "{kinds:?}");
            }
        }
        assert!(server.behaviour.failed.load(Ordering::SeqCst) >= 10, "{kinds:?}");
    }
}

#[test]
fn a_server_that_always_fails_is_given_up_with_what_to_do() {
    let (server, cache) = (Server::start(), cache());
    for kind in [Fault::ServerError, Fault::Reset, Fault::Stall] {
        server.behaviour.fail_every(1, &[kind]);
        let options = RemoteOptions { attempts: 2, ..impatient(&server) };
        let error = push(cache.path(), "stories", &options).unwrap_err();
        let StoreError::Remote { url, got, advice, .. } = &error else { panic!("{error}") };
        assert_eq!(url, "s3://farm/stories/manifest.json");
        assert!(got.contains("after 2 tries") && advice.contains("AWS_ENDPOINT_URL"), "{error}");
    }
}
