use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{at, fill, flip, harvest_shards, unlike, usual};
use crate::support::files_below;

/// Runs `store` in a folder, with arguments apart by blanks.
fn store(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_store")).args(arguments.split(' ')).current_dir(folder).output().unwrap()
}

#[track_caller]
fn prints(folder: &Path, arguments: &str) -> String {
    let output = store(folder, arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(folder: &Path, arguments: &str) -> (String, String) {
    let output = store(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(stderr.starts_with("error: "), "{stderr}");
    (stdout, stderr)
}

#[test]
fn caches_are_merged_extended_and_selected() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    let (pre, post) = ("blocks.3.hook_resid_pre", "blocks.3.hook_resid_post");
    harvest_shards(&folder.join("a"), &at(&usual(), &[pre]), &[0, 1]);
    harvest_shards(&folder.join("b"), &at(&usual(), &[pre]), &[1, 2]);
    harvest_shards(&folder.join("post"), &at(&usual(), &[post]), &[0, 1, 2]);
    harvest_shards(&folder.join("whole"), &usual(), &[0, 1, 2]);

    let merged = prints(folder, "merge a b --out merged");
    assert!(merged.starts_with("a: 0-1\nb: 2\nmerged: 3 shards of 3 planned, 54 tokens; "), "{merged}");
    assert!(merged.contains(" linked"), "{merged}");
    assert_eq!(fails(folder, "merge a b --out merged").0, "");
    let again: Value = serde_json::from_str(&prints(folder, "merge a b --out merged --resume --json")).unwrap();
    assert_eq!((&again["shards"], &again["taken"][1]["shards"]), (&3.into(), &serde_json::json!([2])));

    let extended = prints(folder, "extend merged --with post");
    assert!(extended.starts_with(&format!("added 1 site: {post}\nmerged: 3 shards of 3")), "{extended}");
    assert_eq!(files_below(&folder.join("merged")), files_below(&folder.join("whole")));
    assert!(prints(folder, "extend merged --with post").starts_with("nothing to add\n"));

    let selected = prints(folder, &format!("select merged --out less --subset ArXiv --site {pre}"));
    assert!(selected.starts_with("less: 1 shard, 3 sequences, "), "{selected}");
    assert!(selected.contains(&format!("tokens at {pre}; under a new plan")), "{selected}");
    let shards: Value = serde_json::from_str(&prints(folder, "select merged --out one --shards ..1 --json")).unwrap();
    assert_eq!((&shards["shards"], &shards["new_plan"]), (&1.into(), &false.into()));
    let (_, stderr) = fails(folder, "select merged --out two --section rollout");
    assert!(stderr.contains("section: expected text, bos, got rollout"), "{stderr}");
}

#[test]
fn differences_are_told_and_set_the_exit_code() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    harvest_shards(&folder.join("a"), &usual(), &[0, 1]);
    harvest_shards(&folder.join("b"), &usual(), &[0, 1]);
    assert_eq!(prints(folder, "diff a b"), "the same\n");
    let (_, other) = unlike().swap_remove(2);
    harvest_shards(&folder.join("c"), &other, &[1, 2]);
    let (stdout, stderr) = fails(folder, "diff a c --values");
    assert!(stdout.starts_with("setting dtype: bf16 | f16\nonly in a: shards 0\nonly in c: shards 2\n"), "{stdout}");
    assert!(
        stdout.contains("shard 1, blocks.3.hook_resid_pre: ") && stdout.contains("first at sequence 5,"),
        "{stdout}"
    );
    assert_eq!(stderr, "error: a and c differ\n");
    let (stdout, _) = fails(folder, "diff a c --json");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["settings"][0]["field"], "dtype");
    assert_eq!(fails(folder, "diff a none").0, "");
}

#[test]
fn damage_is_repaired_as_a_dry_run_says() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    harvest_shards(&folder.join("a"), &usual(), &[0, 1, 2]);
    let whole = files_below(&folder.join("a"));
    flip(&folder.join("a/shards/00001/tokens.parquet"));
    flip(&folder.join("a/plan/00000/tokens.parquet"));
    let damaged = files_below(&folder.join("a"));
    let said = prints(folder, "repair a --dry-run");
    assert!(
        said.starts_with("plan/00000/tokens.parquet: would be restored: from shards/00000/tokens.parquet"),
        "{said}"
    );
    assert!(
        said.contains("shards/00001: would be dropped: ") && said.contains("2 whole shards; would be dropped: 1"),
        "{said}"
    );
    assert_eq!(files_below(&folder.join("a")), damaged);
    let done: Value = serde_json::from_str(&prints(folder, "repair a --json")).unwrap();
    assert_eq!((&done["dropped"], &done["missing"]), (&serde_json::json!([1]), &1.into()));
    let rest = prints(folder, "repair a");
    assert_eq!(rest, "a: nothing to repair, 2 whole shards\n1 planned shard to be filled by `harvest run --resume`\n");
    fill(&folder.join("a"), &usual(), &[1]);
    assert_eq!(files_below(&folder.join("a")), whole);

    flip(&folder.join("a/plan/00001/tokens.parquet"));
    flip(&folder.join("a/shards/00001/tokens.parquet"));
    let (stdout, stderr) = fails(folder, "repair a");
    assert!(stdout.contains("shards/00001: lost: "), "{stdout}");
    assert!(stderr.contains("a: lost for good: plan/00001/tokens.parquet. Copy them from"), "{stderr}");
}
