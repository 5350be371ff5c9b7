//! Putting caches into a bucket.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hayloft_store::{Codec, Dtype, Existing, PullSelection, StoreError, verify};

use super::server::{SECRET_KEY, Server};
use super::{cache, location, objects, options, pull, push};
use crate::support::{self, files_below, fill_shard, lengths, settings, write_plan};

#[test]
fn what_is_pushed_is_the_folder_and_pushing_it_again_sends_nothing() {
    let (server, cache) = (Server::start(), cache());
    std::fs::create_dir(cache.path().join("baselines")).unwrap();
    std::fs::write(cache.path().join("baselines/a.json"), "{}").unwrap();
    let pushed = push(cache.path(), "stories", &options(&server)).unwrap();
    let mut files = files_below(cache.path());
    files.remove("baselines/a.json");
    assert_eq!(objects(&server, "stories"), files);
    let bytes: u64 = files.values().map(|file| file.len() as u64).sum();
    assert_eq!((pushed.files_written, pushed.files_found), (files.len() as u64, 0));
    assert_eq!((pushed.traffic.sent, pushed.traffic.repeated), (bytes, 0));
    assert_eq!((pushed.shards, pushed.shards_there), (3, 3));

    let again = push(cache.path(), "stories", &options(&server)).unwrap();
    assert_eq!((again.files_written, again.files_found), (0, files.len() as u64));
    assert_eq!(again.traffic.sent, 0);
    assert_eq!(again.manifest_blake3, pushed.manifest_blake3);
}

#[test]
fn large_files_go_in_parts() {
    let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
    let mut wide = settings(Dtype::F32, Codec::RAW);
    wide.sites.truncate(1);
    wide.model.d_model = 60_000;
    support::harvest(cache.path(), &wide);
    let options = hayloft_store::RemoteOptions { part_bytes: 1, ..options(&server) };
    // A part that fails is sent again, with all the others.
    server.behaviour.fail_every(7, &[super::server::Fault::Reset]);
    push(cache.path(), "stories", &options).unwrap();
    assert_eq!(objects(&server, "stories"), files_below(cache.path()));
}

/// A cache with some of the shards of the plan that all have.
fn part(shards: &[usize]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path(), &lengths());
    let mut writer = support::open(folder.path(), &settings(Dtype::Bf16, Codec::PLANES), Existing::Refuse).unwrap();
    for &shard in shards {
        let filled = fill_shard(&writer, shard).unwrap();
        writer.record(filled).unwrap();
    }
    writer.finish().unwrap();
    folder
}

#[test]
fn two_who_push_at_once_end_with_the_shards_of_both() {
    let whole = cache();
    for round in 0..5 {
        let server = Server::start();
        if round > 0 {
            // Answers are lost too, so that one finds its own writing and must know it.
            server.behaviour.fail_every(3 + round, &[super::server::Fault::LostAnswer]);
        }
        let parts = [part(&[0, 1]), part(&[2, 1]), part(&[0])];
        std::thread::scope(|scope| {
            for part in &parts {
                scope.spawn(|| push(part.path(), "stories", &options(&server)).unwrap());
            }
        });
        assert_eq!(objects(&server, "stories"), files_below(whole.path()), "round {round}");
    }
}

#[test]
fn another_plan_other_settings_and_other_bytes_are_refused_by_name() {
    let (server, ours) = (Server::start(), cache());
    push(ours.path(), "stories", &options(&server)).unwrap();
    let before = objects(&server, "stories");

    let other_plan = tempfile::tempdir().unwrap();
    write_plan(other_plan.path(), &vec![vec![vec![3]]]);
    let writer = support::open(other_plan.path(), &settings(Dtype::Bf16, Codec::PLANES), Existing::Refuse).unwrap();
    support::fill(writer).unwrap();
    let other_settings = tempfile::tempdir().unwrap();
    support::harvest(other_settings.path(), &settings(Dtype::F32, Codec::PLANES));
    for (folder, field) in [(&other_plan, "plan_blake3"), (&other_settings, "model.precision")] {
        // Whether the other's manifest is there already or only its claims.
        for manifest in [true, false] {
            if !manifest {
                std::fs::remove_file(server.bucket().join("stories/manifest.json")).unwrap();
            }
            let error = push(folder.path(), "stories", &options(&server)).unwrap_err();
            let StoreError::Mismatch { path, field: got, .. } = &error else { panic!("{error}") };
            if manifest {
                assert_eq!(got, field, "{error}");
            }
            assert!(path.starts_with("s3://farm/stories"), "{error}");
            push(ours.path(), "stories", &options(&server)).unwrap();
            assert_eq!(objects(&server, "stories"), before);
        }
    }
}

#[test]
fn a_damaged_file_is_not_pushed() {
    let (server, cache) = (Server::start(), cache());
    let name = "shards/00001/blocks.3.hook_resid_pre.parquet";
    let mut bytes = std::fs::read(cache.path().join(name)).unwrap();
    bytes[40] ^= 1;
    std::fs::write(cache.path().join(name), bytes).unwrap();
    let error = push(cache.path(), "stories", &options(&server)).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if path.ends_with(name)), "{error}");
    let there = objects(&server, "stories");
    assert!(!there.contains_key(name) && !there.contains_key("manifest.json"), "{:?}", there.keys());
}

#[test]
fn a_push_that_was_killed_goes_on() {
    let (server, cache) = (Server::start(), cache());
    for requests in [3, 9, 14, 20] {
        server.behaviour.hang_after(requests);
        server.behaviour.hanging.store(0, Ordering::SeqCst);
        let mut child = store(&server)
            .args(["push", "--jobs", "2"])
            .arg(cache.path())
            .arg(location("stories").to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while server.behaviour.hanging.load(Ordering::SeqCst) == 0 {
            assert!(child.try_wait().unwrap().is_none(), "it ended with {requests} requests more");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!server.bucket().join("stories/manifest.json").exists(), "the manifest comes last");
    }
    server.behaviour.hang_after(0);
    let pushed = push(cache.path(), "stories", &options(&server)).unwrap();
    assert!(pushed.files_found > 5 && pushed.files_written > 0, "{pushed:?}");
    assert_eq!(objects(&server, "stories"), files_below(cache.path()));
}

#[test]
fn a_folder_is_pushed_to_and_pulled_from_under_its_lock() {
    let (server, whole) = (Server::start(), cache());
    let there = tempfile::tempdir().unwrap();
    let url: hayloft_store::Location = format!("file://{}/a%20farm", there.path().display()).parse().unwrap();
    for part in [part(&[1]), part(&[0, 2])] {
        hayloft_store::push(part.path(), &url, &options(&server), &|_| ()).unwrap();
    }
    assert_eq!(files_below(&there.path().join("a farm")), files_below(whole.path()));
    let back = tempfile::tempdir().unwrap();
    hayloft_store::pull(&url, back.path(), &PullSelection::default(), &options(&server), &|_| ()).unwrap();
    assert_eq!(files_below(back.path()), files_below(whole.path()));
    assert_eq!(verify(back.path(), &mut |_| ()).unwrap().damages, []);

    let writer = support::open(&there.path().join("a farm"), &settings(Dtype::Bf16, Codec::PLANES), Existing::Resume);
    let error = hayloft_store::push(whole.path(), &url, &options(&server), &|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(writer);
}

#[test]
fn web_servers_are_read_only() {
    let (server, cache) = (Server::start(), cache());
    let url = "https://hay.example/stories".parse().unwrap();
    let error = hayloft_store::push(cache.path(), &url, &options(&server), &|_| ()).unwrap_err().to_string();
    assert!(error.contains("read-only"), "{error}");
}

#[test]
fn nothing_secret_is_said_or_written() {
    let (server, cache) = (Server::start(), cache());
    server.behaviour.fail_every(2, &[super::server::Fault::ServerError]);
    let there = location("stories").to_string();
    let run = |arguments: &[&str]| {
        let mut command = store(&server);
        let output = command.env("RUST_LOG", "trace").args(arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!words.contains(SECRET_KEY), "{words}");
        words
    };
    let folder = cache.path().to_str().unwrap();
    assert!(run(&["push", folder, &there]).contains("3 there"));
    assert!(run(&["inspect", &there]).contains("3 of 3 planned"));
    server.behaviour.fail_every(0, &[]);
    let words = run(&["inspect", &there.replace("farm", "nowhere")]);
    assert!(words.contains("AWS_SECRET_ACCESS_KEY") && words.contains("error: s3://nowhere/stories"), "{words}");
    let denied = store(&server).env("AWS_SECRET_ACCESS_KEY", "another-secret").args(["inspect", &there]).output();
    let words = String::from_utf8(denied.unwrap().stderr).unwrap();
    assert!(words.contains("Are the credentials right") && !words.contains("another-secret"), "{words}");
    for (name, bytes) in objects(&server, "stories") {
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET_KEY), "{name}");
    }
    let with_password = format!("s3://user:{SECRET_KEY}@farm/stories");
    assert!(run(&["push", folder, &with_password]).contains("without credentials"));
    let back = tempfile::tempdir().unwrap();
    pull("stories", back.path(), &PullSelection::default(), &options(&server)).unwrap();
}

/// The program, let in to the server.
pub fn store(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.envs(server.environment());
    command
}
