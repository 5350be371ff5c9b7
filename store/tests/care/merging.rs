use std::fs;
use std::path::{Path, PathBuf};

use hayloft_store::maintain::{Files, Merged, merge};
use hayloft_store::{Cache, Existing, Result, StoreError};

use super::{
    WAYS, assert_whole, field_of, fill, flip, harvest_by_other_plan, harvest_by_other_tokenizer, harvest_shards,
    unlike, usual,
};
use crate::support::{files_below, open};

fn merged(inputs: &[PathBuf], out: &Path) -> Result<Merged> {
    merge(inputs, out, Files::LinkOrCopy, Existing::Refuse, &mut |_| ())
}

#[test]
fn parts_make_the_whole_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("whole"), &usual(), &[0, 1, 2]);
    harvest_shards(&path("a"), &usual(), &[0, 1]);
    harvest_shards(&path("b"), &usual(), &[1, 2]);
    let before = files_below(&path("a"));
    for (number, files) in WAYS.into_iter().enumerate() {
        let out = path(&format!("out-{number}"));
        let mut seen = Vec::new();
        let merged = merge(&[path("a"), path("b")], &out, files, Existing::Refuse, &mut |progress| {
            assert!(progress.bytes <= progress.total_bytes);
            seen.push(progress.bytes);
        })
        .unwrap();
        assert_eq!(files_below(&out), files_below(&path("whole")));
        assert!(seen.is_sorted() && seen.len() > 10, "{seen:?}");
        assert_eq!(merged.taken.iter().map(|taken| taken.shards.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![2]]);
        assert_eq!((merged.shards, merged.planned_shards, merged.tokens), (3, 3, 54));
        assert_eq!(merged.placed.linked_files == 0, files == Files::Copy);
        assert_eq!(merged.placed.copied_files == 0, files == Files::LinkOrCopy);
    }
    assert_eq!(files_below(&path("a")), before);
}

#[test]
fn what_no_part_has_is_left_to_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[2]);
    harvest_shards(&path("b"), &usual(), &[0]);
    merged(&[path("a"), path("b")], &path("out")).unwrap();
    let cache = Cache::open(path("out")).unwrap();
    assert_eq!(cache.manifest().shards.iter().map(|shard| shard.index).collect::<Vec<_>>(), [0, 2]);
    fill(&path("out"), &usual(), &[1]);
    harvest_shards(&path("whole"), &usual(), &[0, 1, 2]);
    assert_eq!(files_below(&path("out")), files_below(&path("whole")));
}

#[test]
fn caches_that_do_not_go_together_are_refused_by_name_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0]);
    for (field, settings) in unlike() {
        harvest_shards(&path(field), &settings, &[1]);
        assert_eq!(field_of(merged(&[path("a"), path(field)], &path("out"))), field);
    }
    harvest_by_other_tokenizer(&path("tokenizer"), &usual());
    assert_eq!(field_of(merged(&[path("a"), path("tokenizer")], &path("out"))), "tokenizer.blake3");
    harvest_by_other_plan(&path("plan"), &usual());
    assert_eq!(field_of(merged(&[path("a"), path("plan")], &path("out"))), "plan_blake3");
    let sites = super::at(&usual(), &["blocks.3.hook_resid_pre"]);
    harvest_shards(&path("sites"), &sites, &[1]);
    assert_eq!(field_of(merged(&[path("a"), path("sites")], &path("out"))), "sites");
    assert!(!path("out").exists());
}

#[test]
fn a_shard_that_two_have_must_be_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1]);
    harvest_shards(&path("b"), &usual(), &[]);
    // Other activations under the same settings, as from another kind of machine.
    let mut writer = open(&path("b"), &usual(), Existing::Resume).unwrap();
    let shard = super::differing::other_shard(&writer, 1);
    writer.record(shard).unwrap();
    writer.finish().unwrap();
    let error = merged(&[path("a"), path("b")], &path("out")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("shard 1 differs") && text.contains("b/shards/00001/"), "{text}");
    assert!(!path("out").exists());
}

#[test]
fn a_damaged_part_is_refused_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0]);
    harvest_shards(&path("b"), &usual(), &[1]);
    flip(&path("b/shards/00001/blocks.3.hook_resid_pre.parquet"));
    for files in WAYS {
        let out = path("out");
        let error = merge(&[path("a"), path("b")], &out, files, Existing::Refuse, &mut |_| ()).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { path, .. } if path.ends_with("00001/blocks.3.hook_resid_pre.parquet")),
            "{error}"
        );
        assert!(!out.join("shards/00001").exists() && !out.join("shards/.00001.partial").exists());
        fs::remove_dir_all(out).unwrap();
    }
    fs::remove_file(path("b/shards/00001/shard.json")).unwrap();
    let error = merged(&[path("a"), path("b")], &path("out")).unwrap_err();
    assert!(error.to_string().contains("00001/shard.json"), "{error}");
}

#[test]
fn the_new_folder_must_be_free_and_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0]);
    harvest_shards(&path("b"), &usual(), &[1]);
    let inputs = [path("a"), path("b")];
    for out in ["a", "a/shards/new", "b/../a/deep/new", ""] {
        let error = merged(&inputs, &path(out)).unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{out}: {error}");
    }
    harvest_shards(&path("there"), &usual(), &[2]);
    assert!(matches!(merged(&inputs, &path("there")).unwrap_err(), StoreError::Exists { .. }));
    // Asked to go on with it, it is one more part.
    merge(&inputs, &path("there"), Files::LinkOrCopy, Existing::Resume, &mut |_| ()).unwrap();
    harvest_shards(&path("whole"), &usual(), &[0, 1, 2]);
    assert_eq!(files_below(&path("there")), files_below(&path("whole")));
    assert_whole(&path("there"));

    crate::support::write_plan(&path("locked"), &crate::support::lengths());
    let _writer = open(&path("locked"), &usual(), Existing::Resume).unwrap();
    let error = merge(&inputs, &path("locked"), Files::LinkOrCopy, Existing::Resume, &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}
