//! Locations where a path of this machine is needed.

use std::process::Command;

use super::cache;

#[test]
fn a_location_is_never_taken_for_a_folder() {
    let (cache, here) = (cache(), tempfile::tempdir().unwrap());
    let folder = cache.path().to_str().unwrap();
    let url = "s3://farm/hunter2x";
    for arguments in [
        &["pull", "s3://farm/stories", url][..],
        &["push", url, "s3://farm/stories"],
        &["merge", folder, folder, "--out", url],
        &["merge", folder, url, "--out", "merged"],
        &["select", folder, "--out", url],
        &["extend", folder, "--with", url],
        &["export", folder, "--to", "safetensors", "--out", url],
        &["export", url, "--to", "safetensors", "--out", "exported"],
        &["import", folder, "--from", "safetensors", "--out", url],
        &["verify", url],
        &["repair", url],
        &["diff", folder, url],
        &["verify", "s3://user:hunter2@farm/x"],
        &["pull", "s3://user:hunter2@farm/x", "pulled"],
        &["inspect", "s3://user:hunter2@farm/x"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        let output = command.current_dir(here.path()).args(arguments).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {words}");
        if arguments.iter().any(|argument| argument.contains("user:")) {
            assert!(words.contains("without credentials") && !words.contains("hunter2"), "{words}");
        } else {
            assert!(
                words.contains("a path of this machine") && words.contains("store pull s3://farm/hunter2x"),
                "{words}"
            );
        }
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "{arguments:?} made a folder");
    }
}

#[test]
fn a_folder_may_be_named_as_a_location() {
    let cache = cache();
    let url = format!("file://{}", cache.path().display());
    let output = Command::new(env!("CARGO_BIN_EXE_store")).args(["verify", &url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
