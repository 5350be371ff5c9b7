//! What a fetch refuses: one test for each.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::time::Duration;

use hayloft_harvest::FetchError;
use hayloft_hub::{Endpoint, HubError, NetworkAccess};

use super::{Field, TOKEN, fetched, file, refusal, weights};
use hayloft_hub::test_hub::{Fault, sha256};

#[test]
fn wrong_hash_of_a_large_file() {
    let field = Field::new();
    let hash = sha256(&weights(100_000));
    field.hub.fault(&hash, Fault::Body(vec![1; 100_000]));
    let message = refusal(&field.settings()).to_string();
    for words in ["o/m: model.safetensors", &hash, &sha256(&vec![1; 100_000]), "the Hub says so", "not kept"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(!field.path("out/m").exists());
    assert!(field.names("out/.m.partial/incomplete").is_empty());
}

#[test]
fn wrong_hash_of_a_small_file() {
    let field = Field::new();
    field.hub.fault("/config.json", Fault::Body(b"[]".to_vec()));
    let error = refusal(&field.settings());
    assert!(matches!(&error, FetchError::Hub(HubError::Hash { hash: "git blob", .. })), "{error}");
    assert!(!field.path("out/m").exists());
}

#[test]
fn a_hash_other_than_the_one_in_the_manifest() {
    let field = Field::new();
    let other = "0".repeat(64);
    for name in ["model.safetensors", "config.json"] {
        field.manifest(&format!("[[models]]\nname = \"m\"\nrepo = \"o/m\"\nsha256 = {{ \"{name}\" = \"{other}\" }}\n"));
        let message = refusal(&field.settings()).to_string();
        assert!(message.contains(&other) && message.contains("set revision in the fetch manifest"), "{message}");
    }
    let asked_for_weights = field.hub.requests().iter().any(|request| request.server == "store");
    assert!(!asked_for_weights, "the listing tells it before anything is downloaded");
}

#[test]
fn a_hash_of_a_file_that_is_not_fetched() {
    let field = Field::new();
    let hash = "0".repeat(64);
    field.manifest(&format!("[[models]]\nname = \"m\"\nrepo = \"o/m\"\nsha256 = {{ \"no.json\" = \"{hash}\" }}\n"));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("called no.json"), "{message}");
}

#[test]
fn more_bytes_than_announced() {
    let field = Field::new();
    field.hub.fault(&sha256(&weights(100_000)), Fault::Body(vec![1; 200_000]));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("expected 100000 bytes, got more"), "{message}");
}

#[test]
fn unauthorised_without_and_with_a_token() {
    let field = Field::new();
    for (settings, sent) in [(field.settings(), "without a token"), (field.with_token(), "with the token in HF_TOKEN")]
    {
        field.hub.fault("/api/", Fault::Status(401, "X-Error-Code: RepoNotFound\r\n"));
        let error = refusal(&settings);
        let message = error.to_string();
        assert!(message.contains(sent) && message.contains("Set HF_TOKEN"), "{message}");
        assert!(!format!("{message} {error:?} {settings:?}").contains(TOKEN));
    }
    assert_eq!(field.hub.requests().len(), 2, "it is not tried again");
}

#[test]
fn gated() {
    let field = Field::new();
    field.hub.fault("/resolve/", Fault::Status(403, "X-Error-Code: GatedRepo\r\n"));
    let message = refusal(&field.with_token()).to_string();
    assert!(message.contains("gated") && message.contains(&format!("Accept its terms at {}/o/m", field.hub.hub)));
    field.hub.fault("/api/", Fault::Status(401, "X-Error-Code: GatedRepo\r\n"));
    assert!(matches!(refusal(&field.settings()), FetchError::Hub(HubError::Gated { .. })));
}

#[test]
fn no_such_repository_revision_or_file() {
    let field = Field::new();
    for (from, to, missing, key) in
        [("o/m", "o/none", "repository", "repo"), ("\"o/m\"", "\"o/m\"\nrevision = \"v9\"", "revision", "revision")]
    {
        field.manifest(&"[[models]]\nname = \"m\"\nrepo = \"o/m\"\n".replace(from, to));
        let message = refusal(&field.settings()).to_string();
        assert!(message.contains(&format!("no such {missing}. Correct {key}")), "{message}");
    }
    field.manifest("[[models]]\nname = \"m\"\nrepo = \"o/m\"\n");
    field.hub.fault("/resolve/", Fault::Status(404, "X-Error-Code: EntryNotFound\r\n"));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("o/m: config.json") && message.contains("no such file"), "{message}");
}

#[test]
fn files_that_are_not_in_the_repository() {
    let field = Field::new();
    field.manifest("[[models]]\nname = \"m\"\nrepo = \"o/m\"\nfiles = [\"config.json\", \"*.gguf\"]\n");
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("that matches *.gguf") && message.contains("\"model.safetensors\""), "{message}");
}

#[test]
fn pickled_weights() {
    let field = Field::with(vec![file("config.json", "{}", false), file("pytorch_model.bin", "pickle", true)]);
    for files in ["", "files = [\"*.bin\"]\n"] {
        field.manifest(&format!("[[models]]\nname = \"m\"\nrepo = \"o/m\"\n{files}"));
        let message = refusal(&field.settings()).to_string();
        assert!(message.contains("are never fetched: have them converted to safetensors"), "{message}");
    }
}

#[test]
fn too_many_requests_are_retried_and_then_an_error() {
    let field = Field::new();
    field.hub.fault("/api/", Fault::Status(429, "Retry-After: 0\r\n"));
    field.hub.fault("/api/", Fault::Status(503, ""));
    fetched(&field.settings());

    fs::remove_dir_all(field.path("out")).unwrap();
    field.hub.requests();
    for _ in 0..3 {
        field.hub.fault("/api/", Fault::Status(429, "Retry-After: 0\r\n"));
    }
    let message = refusal(&field.settings()).to_string();
    assert!(
        message.contains("429, too many requests") && message.contains("at attempt 3, and to wait 0 s"),
        "{message}"
    );
    assert_eq!(field.hub.requests().len(), 3);
}

#[test]
fn a_requested_wait_beyond_the_limit_fails_at_once() {
    let field = Field::new();
    field.hub.fault("/api/", Fault::Status(429, "Retry-After: 86400\r\n"));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("at attempt 1, and to wait 86400 s"), "{message}");
}

#[test]
fn an_unknown_status() {
    let field = Field::new();
    field.hub.fault("/api/", Fault::Status(418, ""));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("got status 418"), "{message}");
}

#[test]
fn offline_with_an_empty_cache() {
    let field = Field::new();
    let mut settings = field.settings();
    settings.hub.network = NetworkAccess::Offline { said_by: "HF_HUB_OFFLINE" };
    let message = refusal(&settings).to_string();
    for words in ["m: expected model o/m at main", "because of HF_HUB_OFFLINE", "home/hub"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(field.hub.requests().is_empty());
}

#[test]
fn a_server_that_cannot_be_reached() {
    let field = Field::new();
    let mut settings = field.settings();
    // A port that was free a moment ago and has no listener.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    settings.hub.endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}"), "HF_ENDPOINT").unwrap();
    let message = refusal(&settings).to_string();
    assert!(message.contains("cannot reach http://127.0.0.1") && message.contains("HF_ENDPOINT"), "{message}");
}

#[test]
fn a_server_that_is_silent() {
    let field = Field::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = field.impatient();
    settings.hub.retries.silence = Duration::from_millis(50);
    let address = format!("http://{}", listener.local_addr().unwrap());
    settings.hub.endpoint = Endpoint::new(&address, "HF_ENDPOINT").unwrap();
    let error = refusal(&settings);
    assert!(matches!(error, FetchError::Hub(HubError::Unreachable { .. })), "{error}");
}

#[test]
fn a_server_that_is_no_hub() {
    let field = Field::new();
    field.hub.fault("/api/", Fault::Body(b"<html>".to_vec()));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("expected a list of files as JSON") && message.contains("Check HF_ENDPOINT"), "{message}");
}

#[test]
fn a_commit_other_than_the_requested_one() {
    let field = Field::new();
    let asked = "f".repeat(40);
    field.manifest(&format!("[[models]]\nname = \"m\"\nrepo = \"o/m\"\nrevision = \"{asked}\"\n"));
    field.hub.fault("/api/", Fault::Redirect("/api/models/o/m/revision/main?blobs=true".to_owned()));
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains(&format!("expected commit {asked}, got 0123")), "{message}");
}

#[test]
fn redirects_without_end_or_to_nowhere() {
    let field = Field::new();
    for _ in 0..9 {
        field.hub.fault("/api/", Fault::Redirect("/api/models/o/m/revision/main?blobs=true".to_owned()));
    }
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("expected at most 8 redirects"), "{message}");
    for location in ["file:///etc/passwd", "nowhere", ""] {
        field.hub.fault("/api/", Fault::Redirect(location.to_owned()));
        let message = refusal(&field.settings()).to_string();
        assert!(message.contains("expected a redirect to an address"), "{message}");
    }
}

#[test]
fn names_that_leave_the_folder() {
    for hostile in ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "a\\..\\evil.txt", "a//b", ""] {
        let field = Field::with(vec![file("good.txt", "good", false), file(hostile, "evil", false)]);
        field.manifest("[[datasets]]\nname = \"d\"\nrepo = \"o/d\"\nfiles = [\"**/*\"]\n");
        let error = refusal(&field.settings());
        assert!(matches!(error, FetchError::Hub(HubError::HostileName { .. })), "{hostile}: {error}");
        assert_eq!(field.hub.requests().len(), 1, "nothing of it is downloaded");
        assert!(!field.path("evil.txt").exists() && !field.path("out/evil.txt").exists());
    }
}

#[test]
fn links_on_the_way_are_not_followed() {
    let field = Field::with(vec![file("data/a.txt", "a", false)]);
    field.manifest("[[datasets]]\nname = \"d\"\nrepo = \"o/d\"\nfiles = [\"data/*\"]\n");
    field.hub.fault("/resolve/", Fault::Status(418, ""));
    refusal(&field.settings());
    let outside = field.path("outside");
    fs::create_dir(&outside).unwrap();
    let data = field.path("out/.d.partial/files/data");
    fs::remove_dir(&data).unwrap();
    symlink(&outside, &data).unwrap();
    let error = refusal(&field.settings());
    assert!(matches!(error, FetchError::NotFetched { .. }), "{error}");
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
}

#[test]
fn a_folder_that_was_not_fetched() {
    let field = Field::new();
    fs::create_dir_all(field.path("out/m")).unwrap();
    fs::write(field.path("out/m/thesis.tex"), "years of work").unwrap();
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("left as it is") && message.contains("out/m"), "{message}");
    assert_eq!(field.read("out/m/thesis.tex"), b"years of work");
}

#[test]
fn a_record_of_another_format() {
    let field = Field::new();
    fetched(&field.settings());
    let record = String::from_utf8(field.read("out/m/fetched.json")).unwrap();
    fs::write(field.path("out/m/fetched.json"), record.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let message = refusal(&field.settings()).to_string();
    assert!(message.contains("out/m/fetched.json: expected format 1, got 2") && message.contains("--out"), "{message}");
}

#[test]
fn a_folder_that_another_fetch_fills() {
    let field = Field::new();
    fs::create_dir_all(field.path("out/.m.partial")).unwrap();
    let lock = fs::File::create(field.path("out/.m.partial/lock")).unwrap();
    lock.try_lock().unwrap();
    let error = refusal(&field.settings());
    assert!(matches!(error, FetchError::Busy { .. }), "{error}");
}

#[test]
fn a_name_that_the_manifest_lacks() {
    let field = Field::new();
    let mut settings = field.settings();
    settings.names = vec!["mistral".to_owned()];
    let message = refusal(&settings).to_string();
    assert!(message.contains("expected one of its names (m), got \"mistral\""), "{message}");
}
