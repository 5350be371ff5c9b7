//! A server of which every tenth request fails, in each of the ways that requests fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hayloft_store::{Cache, Environment, PullSelection, RemoteOptions, StoreError};

use super::server::{Fault, Server};
use super::{cache, location, objects, options, pull, push};
use crate::support::{files_below, two_sites};

const KINDS: [Fault; 5] = [Fault::ServerError, Fault::Stall, Fault::Truncate, Fault::Reset, Fault::LostAnswer];

/// Options for a server that does not answer now and then. An answer that takes longer is asked for again, as often as it fails.
fn impatient(server: &Server) -> RemoteOptions {
    RemoteOptions { timeout: Duration::from_millis(700), ..options(server) }
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
fn a_server_that_always_fails_is_given_up_within_one_budget_that_is_told() {
    let (server, cache) = (Server::start(), cache());
    for kind in [Fault::ServerError, Fault::Reset, Fault::Stall] {
        server.behaviour.fail_every(1, &[kind]);
        let before = server.behaviour.requests();
        let options =
            RemoteOptions { budget: Duration::from_secs(1), timeout: Duration::from_millis(200), ..options(&server) };
        let error = push(cache.path(), "stories", &options).unwrap_err();
        let StoreError::Remote { url, got, advice, .. } = &error else { panic!("{error}") };
        assert_eq!(url, "s3://farm/stories/manifest.json");
        assert!(advice.contains("AWS_ENDPOINT_URL"), "{error}");
        // The error counts every attempt: no other layer retries.
        let (_, tries) = got.split_once(", after ").unwrap();
        let tries: u64 = tries.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(tries, server.behaviour.requests() - before, "{error}");
        assert!(got.contains("(one request is tried for 1.0 s)"), "{error}");
    }
}

#[test]
fn what_no_try_can_mend_is_asked_once() {
    let server = Server::start();
    for (status, words) in [
        (400, "does not accept"),
        (401, "Are the credentials right"),
        (403, "Are the credentials right"),
        (404, "store push CACHE s3://farm/stories"),
        (301, "region"),
        (405, "lacks what this needs"),
        (501, "lacks what this needs"),
    ] {
        server.behaviour.reply("manifest.json", status, "application/xml", "<Error><Code>Some</Code></Error>");
        let before = server.behaviour.requests();
        let error = Cache::open_location(&location("stories"), &options(&server)).unwrap_err().to_string();
        assert_eq!(server.behaviour.requests() - before, 1, "{error}");
        assert!(error.contains(words) && !error.contains('<') && !error.contains("after"), "{error}");
    }
}

#[test]
fn where_nothing_listens_or_the_connection_cannot_be_trusted_it_is_said_at_once() {
    let server = Server::start();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (endpoint, words) in [
        (format!("http://{unused}"), "Nothing listens there"),
        // It speaks no TLS.
        (format!("https://{}", server.address()), "SSL_CERT_FILE"),
        ("https://hay.invalid".to_owned(), "host's name"),
    ] {
        let mut environment = server.environment();
        environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint.clone());
        let options = RemoteOptions { environment: Environment::Given(environment), ..options(&server) };
        let error = Cache::open_location(&location("stories"), &options).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("after"), "{error}");
    }
}

#[test]
fn without_credentials_no_service_is_asked() {
    let server = Server::start();
    let mut environment = server.environment();
    environment.retain(|name, _| !name.contains("KEY"));
    let options = RemoteOptions { environment: Environment::Given(environment), ..options(&server) };
    let error = Cache::open_location(&location("stories"), &options).unwrap_err().to_string();
    assert!(error.contains("credentials in the environment, got none"), "{error}");
    assert_eq!(server.behaviour.requests(), 0);
}

#[test]
fn what_the_client_says_of_its_own_stays_out_of_the_log() {
    let (server, cache) = (Server::start(), cache());
    server.behaviour.fail_every(3, &[Fault::ServerError, Fault::Truncate]);
    let mut command = super::pushing::store(&server);
    let output =
        command.env_remove("RUST_LOG").args(["push", "--jobs", "1"]).arg(cache.path()).arg("s3://farm/stories");
    let output = output.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && server.behaviour.failed.load(Ordering::SeqCst) > 3, "{words}");
    assert!(!words.contains("INFO") && !words.contains("backing off"), "{words}");
}
