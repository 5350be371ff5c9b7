//! What people are told to do: each time something that helps.

use std::fs;

use hayloft_store::{Cache, Environment, PullSelection, RemoteOptions};

use super::server::{Reply, Server};
use super::{cache, location, options, pull, push};
use crate::support::site;

const MEND: &str = "Run `store push";

/// What pulling says, and what reading a site of the second shard says.
fn errors(server: &Server) -> Vec<String> {
    let (back, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let reading = RemoteOptions { folder: Some(shelf.path().to_owned()), ..options(server) };
    let pulled = pull("stories", back.path(), &PullSelection::default(), &options(server));
    let read = Cache::open_location(&location("stories"), &reading)
        .and_then(|cache| cache.shard(1))
        .and_then(|shard| shard.activations(&site("blocks.3.hook_resid_pre")));
    [pulled.err().map(|error| error.to_string()), read.err().map(|error| error.to_string())]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn an_object_that_is_cut_short_or_gone_is_put_there_again() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    let path = server.bucket().join("stories/shards/00001/blocks.3.hook_resid_pre.parquet");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    for error in errors(&server) {
        let size = format!("an object of {} bytes", whole.len() / 2);
        assert!(error.contains(&size) && error.contains(MEND) && error.contains("resid_pre"), "{error}");
        assert!(!error.contains("Is the service") && !error.contains("after"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    for error in errors(&server) {
        assert!(error.contains("expected such an object") && error.contains(MEND), "{error}");
        assert!(!error.contains('<') && !error.contains("credentials"), "{error}");
    }
}

#[test]
fn a_damaged_record_is_put_there_again() {
    let (server, cache) = (Server::start(), cache());
    push(cache.path(), "stories", &options(&server)).unwrap();
    for (name, told) in [("manifest.json", 2), ("plan.json", 1), ("shards/00001/shard.json", 2)] {
        let path = server.bucket().join("stories").join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[50] ^= 4;
        for damaged in [&flipped[..], &whole[..whole.len() / 2], b"{}"] {
            fs::write(&path, damaged).unwrap();
            let errors = errors(&server);
            assert_eq!(errors.len(), told, "{errors:?}");
            for error in errors {
                assert!(error.contains(name) && error.contains(MEND), "{error}");
                assert!(!error.contains("harvest again") && !error.contains("delete"), "{error}");
            }
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_web_server_that_gives_nothing_or_a_page_is_told_as_such() {
    let server = Server::start();
    let url = format!("http://{}/farm/stories", server.address()).parse().unwrap();
    let page = "<!DOCTYPE html><html><body>Log in, please</body></html>";
    for (status, body, words) in [
        (401, page, "sends no credentials to web servers"),
        (403, "<Error><Code>AccessDenied</Code></Error>", "sends no credentials to web servers"),
        (404, page, "the folder that has manifest.json"),
        (200, page, "an HTML or XML page"),
    ] {
        server.behaviour.reply("manifest.json", status, "text/html; charset=utf-8", body);
        let error = Cache::open_location(&url, &options(&server)).unwrap_err().to_string();
        assert!(error.contains(words), "{status}: {error}");
        assert!(!error.contains('<') && !error.contains("AWS_") && !error.contains("store push CACHE http"), "{error}");
    }
    // A manifest, and a page for all else.
    server.behaviour.replies.lock().unwrap().clear();
    let cache = cache();
    push(cache.path(), "stories", &options(&server)).unwrap();
    let manifest: &str = fs::read_to_string(cache.path().join("manifest.json")).unwrap().leak();
    server.behaviour.reply("manifest.json", 200, "application/json", manifest);
    let record = Reply { to: "shard.json", status: 200, content_type: "text/html", body: page };
    server.behaviour.replies.lock().unwrap().push(record);
    let shelf = tempfile::tempdir().unwrap();
    let options = RemoteOptions { folder: Some(shelf.path().to_owned()), ..options(&server) };
    let error = Cache::open_location(&url, &options).and_then(|cache| cache.shard(0)).unwrap_err().to_string();
    assert!(error.contains("an HTML page in place of the bytes") && error.contains("ranges"), "{error}");
}

#[test]
fn a_bucket_or_container_that_is_not_there_is_not_an_empty_one() {
    let server = Server::start();
    let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
    server.behaviour.reply("manifest.json", 404, "application/xml", body);
    let error = Cache::open_location(&"s3://barn/stories".parse().unwrap(), &options(&server)).unwrap_err().to_string();
    assert!(error.contains("such a bucket or container") && error.contains("NoSuchBucket"), "{error}");

    let azure = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "hay".to_owned()),
        ("AZURE_ENDPOINT", format!("http://{}", server.address())),
        ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ("AZURE_SKIP_SIGNATURE", "true".to_owned()),
    ];
    let environment = azure.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let options = RemoteOptions { environment: Environment::Given(environment), ..options(&server) };
    let body = "<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code><Message>The specified container does not exist.</Message></Error>";
    server.behaviour.reply("manifest.json", 404, "application/xml", body);
    let (cache, url) = (cache(), "az://barn/stories".parse().unwrap());
    for error in [
        Cache::open_location(&url, &options).unwrap_err().to_string(),
        hayloft_store::push(cache.path(), &url, &options, &|_| ()).unwrap_err().to_string(),
    ] {
        assert!(error.contains("such a bucket or container") && error.contains("AZURE_STORAGE_ACCOUNT"), "{error}");
        assert!(!error.contains('<'), "{error}");
    }
}
