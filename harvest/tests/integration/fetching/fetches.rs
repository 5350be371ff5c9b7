//! What a fetch brings, and what it asks for.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use hayloft_harvest::{FetchMode, FetchOutcome, RunSettings};
use hayloft_hub::NetworkAccess;
use serde_json::Value;

use super::{Field, TOKEN, fetched, file, weights};
use crate::checkpoint::{Farm, harvest};
use hayloft_hub::test_hub::{COMMIT, Fault, sha256};

#[test]
fn a_model_becomes_a_folder_of_the_files_it_needs() {
    let field = Field::new();
    let summary = fetched(&field.settings());
    let names = ["config.json", "fetched.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(field.names("out/m"), names);
    assert_eq!(field.names("out"), ["m"], "nothing is left beside it");
    assert_eq!(field.read("out/m/model.safetensors"), weights(100_000));
    assert!(fs::symlink_metadata(field.path("out/m/model.safetensors")).unwrap().is_file());
    assert_eq!(summary.entries[0].outcome, FetchOutcome::Fetched);
    assert_eq!(summary.entries[0].received, summary.entries[0].bytes);
    assert!(!field.hub.requests().iter().any(|request| request.target.contains(".bin")));
}

#[test]
fn the_record_says_commit_sizes_and_hashes_and_no_token() {
    let field = Field::new();
    fetched(&field.with_token());
    let text = String::from_utf8(field.read("out/m/fetched.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["commit"], COMMIT);
    assert_eq!((&record["request"]["repo"], &record["request"]["revision"]), (&"o/m".into(), &"main".into()));
    let files = record["files"].as_array().unwrap();
    assert_eq!(files.len(), 4);
    let weights_file = files.iter().find(|file| file["name"] == "model.safetensors").unwrap();
    assert_eq!(weights_file["bytes"], 100_000);
    assert_eq!(weights_file["sha256"], sha256(&weights(100_000)).as_str());
    assert!(!text.contains(TOKEN) && !text.contains("s3cret"), "{text}");
}

#[test]
fn an_existing_entry_is_kept_without_a_request() {
    let field = Field::new();
    let first = fetched(&field.settings());
    field.hub.requests();
    let second = fetched(&field.settings());
    assert!(field.hub.requests().is_empty());
    assert_eq!(second.entries[0].outcome, FetchOutcome::Present);
    assert_eq!(second.entries[0].files, first.entries[0].files);
    let mut offline = field.settings();
    offline.hub.network = NetworkAccess::Offline { said_by: "--offline" };
    assert_eq!(fetched(&offline).entries[0].outcome, FetchOutcome::Present);
}

#[test]
fn a_file_that_was_lost_or_cut_is_fetched_again_and_no_other() {
    let field = Field::new();
    fetched(&field.settings());
    field.hub.requests();
    fs::write(field.path("out/m/model.safetensors"), "cut").unwrap();
    fetched(&field.settings());
    assert_eq!(field.read("out/m/model.safetensors"), weights(100_000));

    fs::remove_file(field.path("out/m/config.json")).unwrap();
    field.hub.requests();
    fetched(&field.settings());
    let store: Vec<_> = field.hub.requests().into_iter().filter(|request| request.server == "store").collect();
    assert!(store.is_empty(), "the weights are taken from the folder that is replaced: {store:?}");
    assert_eq!(field.read("out/m/config.json"), b"{}");
}

#[test]
fn an_interrupted_download_requests_only_the_rest() {
    let field = Field::new();
    field.hub.fault(&sha256(&weights(100_000)), Fault::Cut(40_000));
    let message = super::refusal(&field.impatient()).to_string();
    assert!(message.contains("expected 100000 bytes, got 40000"), "{message}");
    assert!(message.contains("run the same command again"), "{message}");
    assert!(!field.path("out/m").exists());

    field.hub.requests();
    let summary = fetched(&field.settings());
    let requests = field.hub.requests();
    let ranges: Vec<_> =
        requests.iter().filter(|request| request.server == "store").map(|it| it.range.clone()).collect();
    assert_eq!(ranges, [Some("bytes=40000-".to_owned())]);
    assert!(!requests.iter().any(|request| request.target.ends_with("/config.json")), "small files were whole");
    assert_eq!(summary.entries[0].received, 60_000 + 8 + 3, "the rest, and the two files after it");
    assert_eq!(field.read("out/m/model.safetensors"), weights(100_000));
}

#[test]
fn a_connection_that_breaks_is_made_anew_within_one_run() {
    let field = Field::new();
    let hash = sha256(&weights(100_000));
    field.hub.fault(&hash, Fault::Cut(40_000));
    field.hub.fault(&hash, Fault::Cut(1000));
    fetched(&field.settings());
    let ranges: Vec<_> =
        field.hub.requests().into_iter().filter(|request| request.server == "store").map(|it| it.range).collect();
    assert_eq!(ranges, [None, Some("bytes=40000-".to_owned()), Some("bytes=41000-".to_owned())]);
    assert_eq!(field.read("out/m/model.safetensors"), weights(100_000));
}

#[test]
fn failures_after_progress_do_not_add_up() {
    let bytes = weights(5 << 20);
    let field = Field::with(vec![file("config.json", "{}", false), file("model.safetensors", bytes.clone(), true)]);
    for _ in 0..4 {
        field.hub.fault(&sha256(&bytes), Fault::Cut(1 << 20));
    }
    let mut settings = field.settings();
    settings.hub.retries.attempts = 2;
    fetched(&settings);
    assert_eq!(field.read("out/m/model.safetensors"), bytes);
}

#[test]
fn a_server_that_ignores_the_range_is_taken_from_the_beginning() {
    let field = Field::new();
    let hash = sha256(&weights(100_000));
    field.hub.fault(&hash, Fault::Cut(40_000));
    field.hub.fault(&hash, Fault::IgnoreRange);
    fetched(&field.settings());
    assert_eq!(field.read("out/m/model.safetensors"), weights(100_000));
}

#[test]
fn a_partial_download_of_another_version_is_not_resumed() {
    let field = Field::new();
    field.hub.fault(&sha256(&weights(100_000)), Fault::Cut(40_000));
    super::refusal(&field.impatient());
    let other = weights(90_000);
    field.hub.replace("model.safetensors", &other);
    fetched(&field.settings());
    assert_eq!(field.read("out/m/model.safetensors"), other);
}

#[test]
fn a_mirror_that_lists_names_alone_is_checked_by_its_headers() {
    let field = Field::new();
    field.hub.be_terse();
    fetched(&field.settings());
    assert_eq!(field.read("out/m/model.safetensors"), weights(100_000));
    fs::remove_dir_all(field.path("out")).unwrap();
    for (target, body) in [("config.json", b"[]".to_vec()), (&sha256(&weights(100_000)), vec![1; 100_000])] {
        field.hub.fault(target, Fault::Body(body));
        let message = super::refusal(&field.settings()).to_string();
        assert!(message.contains("the Hub says so"), "{message}");
    }
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let field = Field::new();
    fetched(&field.with_token());
    let requests = field.hub.requests();
    assert!(requests.iter().any(|request| request.server == "store"));
    for request in requests {
        let expected = (request.server == "hub").then(|| format!("Bearer {TOKEN}"));
        assert_eq!(request.authorization, expected, "{request:?}");
    }
}

#[test]
fn a_renamed_repository_is_followed_with_the_token() {
    let field = Field::new();
    field.manifest("[[models]]\nname = \"m\"\nrepo = \"o/old\"\n");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        field.hub.fault(
            &format!("/o/old/resolve/{COMMIT}/{name}"),
            Fault::Redirect(format!("/o/m/resolve/{COMMIT}/{name}")),
        );
    }
    field.hub.fault("/api/models/o/old", Fault::Redirect("/api/models/o/m/revision/main?blobs=true".to_owned()));
    fetched(&field.with_token());
    assert!(field.path("out/m/model.safetensors").exists());
}

#[test]
fn a_revision_is_asked_for_by_its_commit() {
    let field = Field::new();
    field.manifest(&format!("[[models]]\nname = \"m\"\nrepo = \"o/m\"\nrevision = \"{COMMIT}\"\n"));
    fetched(&field.settings());
    let requests = field.hub.requests();
    assert_eq!(requests[0].target, format!("/api/models/o/m/revision/{COMMIT}?blobs=true"));
    assert!(requests[1..].iter().filter(|it| it.server == "hub").all(|it| it.target.contains(COMMIT)));
}

#[test]
fn datasets_and_saes_have_their_own_places_and_patterns() {
    let field = Field::with(vec![
        file("data/train-0 a#.parquet", "rows", true),
        file("data/test-0.parquet", "others", true),
        file("layer.9/cfg.json", "{}", false),
        file("layer.9/sae_weights.safetensors", "sae", true),
    ]);
    let sha = sha256(b"rows");
    field.manifest(&format!(
        "[[datasets]]\nname = \"d\"\nrepo = \"o/d\"\nfiles = [\"data/train-*.parquet\"]\n\
         sha256 = {{ \"data/train-0 a#.parquet\" = \"{sha}\" }}\n\
         [[saes]]\nname = \"s\"\nrepo = \"o/m\"\nfolder = \"layer.9\"\n"
    ));
    fetched(&field.settings());
    assert_eq!(field.read("out/d/data/train-0 a#.parquet"), b"rows");
    assert_eq!(field.names("out/d/data").len(), 1);
    assert_eq!(field.names("out/s"), ["cfg.json", "fetched.json", "sae_weights.safetensors"]);
}

#[test]
fn names_choose_entries() {
    let field = Field::new();
    field.manifest("[[models]]\nname = \"m\"\nrepo = \"o/m\"\n[[models]]\nname = \"n\"\nrepo = \"o/m\"\n");
    let mut settings = field.settings();
    settings.names = vec!["n".to_owned()];
    fetched(&settings);
    assert_eq!(field.names("out"), ["n"]);
}

#[test]
fn a_dry_run_tells_sizes_and_writes_nothing() {
    let field = Field::new();
    let mut settings = field.settings();
    settings.mode = FetchMode::DryRun;
    let summary = fetched(&settings);
    assert_eq!(summary.entries[0].outcome, FetchOutcome::WouldFetch);
    assert_eq!(summary.entries[0].bytes, 100_013);
    assert!(summary.to_string().contains("model.safetensors (97.66 KiB)"), "{summary}");
    assert!(!field.path("out").exists());
    assert_eq!(field.hub.requests().len(), 1);
}

#[test]
fn hugging_faces_own_cache_is_used_before_the_network() {
    let field = Field::new();
    let repo = field.path("home/hub/models--o--m");
    let snapshot = repo.join("snapshots").join(COMMIT);
    for folder in [&snapshot, &repo.join("blobs"), &repo.join("refs")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    let blob = repo.join("blobs").join(sha256(&weights(100_000)));
    fs::write(&blob, weights(100_000)).unwrap();
    symlink(&blob, snapshot.join("model.safetensors")).unwrap();
    fs::write(snapshot.join("config.json"), "damaged").unwrap();

    let summary = fetched(&field.settings());
    assert_eq!(summary.entries[0].received, 2 + 8 + 3, "all but the weights");
    assert_eq!(field.read("out/m/config.json"), b"{}");
    let inode = |path: &std::path::Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&blob), inode(&field.path("out/m/model.safetensors")), "no second copy");

    field.hub.requests();
    let mut offline = field.settings();
    offline.out = field.path("elsewhere");
    offline.hub.network = NetworkAccess::Offline { said_by: "HF_HUB_OFFLINE" };
    assert_eq!(fetched(&offline).entries[0].outcome, FetchOutcome::Fetched);
    assert!(field.hub.requests().is_empty());
}

#[test]
fn a_fetched_checkpoint_can_be_run() {
    let farm = Farm::new();
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    let there = names.into_iter().filter(|name| farm.path("model").join(name).exists());
    let files = there.map(|name| file(name, fs::read(farm.path("model").join(name)).unwrap(), true));
    let field = Field::with(files.collect());
    fetched(&field.settings());
    let summary = harvest(&RunSettings { model: field.path("out/m"), ..farm.run_settings() });
    assert!(summary.tokens > 0);
}
