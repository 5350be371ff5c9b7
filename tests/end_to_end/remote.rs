//! A cache in a bucket, evaluated in place.

use std::path::Path;
use std::process::Command;

use super::small_model::SmallModel;
use crate::support::program::{program, refuse, succeed};
use crate::support::server::{Fault, Server};
use crate::support::{assert_same_files, fixture};

/// A program with credentials for the server, which keeps the bytes that it reads in `kept`.
fn at(server: &Server, kept: &Path, mut command: Command) -> Command {
    command.envs(server.environment()).env("HAYLOFT_CACHE", kept);
    command
}

fn evaluate(small: &SmallModel, cache: &str, options: &str) -> Command {
    let sae = fixture("tiny-llama/sae");
    let paths = [("--model", small.model.as_path()), ("--cache", Path::new(cache)), ("--sae", &sae)];
    program("evaluate", &format!("run --json {options}"), &paths)
}

#[test]
fn figures_from_a_bucket_are_those_from_a_folder_to_the_bit() {
    let (small, server) = (SmallModel::new(), Server::start());
    let (cache, kept, back) = (small.folder("cache"), small.folder("kept"), small.folder("back"));
    succeed(&mut small.harvest("", &cache));
    let local = succeed(&mut evaluate(&small, cache.to_str().unwrap(), ""));
    let url = "s3://farm/a/cache";
    succeed(&mut at(&server, &kept, program("store", "push", &[("", &cache), ("", Path::new(url))])));

    server.behaviour.take_read();
    let remote = succeed(&mut at(&server, &kept, evaluate(&small, url, "")));
    assert_eq!(remote, local);
    let read = server.behaviour.take_read();
    assert!(read.keys().any(|name| name.ends_with("blocks.1.hook_resid_pre.parquet")), "{read:?}");
    assert!(read.keys().all(|name| !name.contains("hook_resid_post") && !name.contains("/plan/")), "{read:?}");
    for (name, bytes) in &read {
        let file = cache.join(name.strip_prefix("a/cache/").unwrap());
        assert_eq!(file.metadata().unwrap().len(), *bytes, "{name}");
    }

    // Again, from the kept bytes, and with the baselines kept beside them.
    let again = at(&server, &kept, evaluate(&small, url, "")).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), local);
    assert_eq!(server.behaviour.take_read().into_keys().collect::<Vec<_>>(), ["a/cache/manifest.json"]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("received=") && said.contains("requests=1"), "{said}");

    server.behaviour.fail_every(10, &[Fault::ServerError, Fault::Truncate, Fault::Reset, Fault::LostAnswer]);
    let kept = small.folder("kept-anew");
    assert_eq!(succeed(&mut at(&server, &kept, evaluate(&small, url, ""))), local);
    let pull = program("store", "pull", &[("", Path::new(url)), ("", &back)]);
    succeed(&mut at(&server, &kept, pull));
    server.behaviour.fail_every(0, &[]);
    std::fs::remove_dir_all(cache.join("baselines")).unwrap();
    assert_same_files(&cache, &back);

    let message = refuse(&mut at(&server, &kept, evaluate(&small, url, "--cache-limit 1kB --cache-folder /proc/none")));
    assert!(message.contains("/proc/none"), "{message}");
    let message = refuse(&mut at(&server, &small.folder("tiny"), evaluate(&small, url, "--cache-limit 1kB")));
    assert!(message.contains("--cache-limit"), "{message}");
}

#[test]
fn a_training_reads_a_bucket_too() {
    let (small, server) = (SmallModel::new(), Server::start());
    let (cache, kept) = (small.folder("cache"), small.folder("kept"));
    succeed(&mut small.harvest("", &cache));
    let url = "s3://farm/cache";
    succeed(&mut at(&server, &kept, program("store", "push", &[("", &cache), ("", Path::new(url))])));
    let line =
        "train --site blocks.1.hook_resid_pre --architecture topk --k 8 --width 64 --batch 64 --tokens 640 --threads 1";
    let [here, there] = [("here", cache.as_path()), ("there", Path::new(url))].map(|(name, cache)| {
        let out = small.folder(name);
        succeed(&mut at(&server, &kept, program("evaluate", line, &[("--cache", cache), ("--out", &out)])));
        std::fs::read(out.join("sae_weights.safetensors")).unwrap()
    });
    assert!(here == there, "the weights differ");
}
