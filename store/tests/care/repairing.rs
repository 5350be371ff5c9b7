use std::fs;
use std::path::Path;

use hayloft_store::maintain::{Repaired, repair};
use hayloft_store::{Codec, Dtype, Existing, StoreError};

use super::{assert_whole, fill, flip, harvest_shards, unlike, usual};
use crate::support::{files_below, open, settings};

fn repaired(folder: &Path) -> Repaired {
    // What a dry run says is what is done; and it does nothing.
    let before = files_below(folder);
    let said = repair(folder, true, &mut |_| ()).unwrap();
    assert_eq!(files_below(folder), before);
    let done = repair(folder, false, &mut |_| ()).unwrap();
    assert_eq!(said, done);
    assert_eq!(repair(folder, false, &mut |_| ()).unwrap().repairs, []);
    done
}

#[test]
fn a_whole_cache_has_nothing_to_repair() {
    let folder = tempfile::tempdir().unwrap();
    harvest_shards(folder.path(), &usual(), &[0, 2]);
    let before = files_below(folder.path());
    let done = repaired(folder.path());
    assert_eq!((done.repairs.len(), done.shards, done.missing), (0, 2, 1));
    assert_eq!(files_below(folder.path()), before);
}

#[test]
fn damaged_shards_are_dropped_and_filled_again_to_the_same_bytes() {
    for file in ["blocks.3.hook_resid_pre.parquet", "tokens.parquet", "logits.parquet", "shard.json"] {
        let folder = tempfile::tempdir().unwrap();
        harvest_shards(folder.path(), &usual(), &[0, 1, 2]);
        let whole = files_below(folder.path());
        flip(&folder.path().join("shards/00001").join(file));
        let done = repaired(folder.path());
        assert_eq!((done.dropped.as_slice(), done.shards, done.missing), ([1].as_slice(), 2, 1), "{file}");
        assert_eq!(done.repairs[0].path, "shards/00001");
        assert!(done.repairs[0].why.contains(file), "{done:?}");
        assert_whole(folder.path());
        fill(folder.path(), &usual(), &[0, 1, 2]);
        assert_eq!(files_below(folder.path()), whole, "{file}");
    }
}

#[test]
fn a_shard_that_is_gone_or_cut_short_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    harvest_shards(folder.path(), &usual(), &[0, 1, 2]);
    let whole = files_below(folder.path());
    fs::remove_dir_all(folder.path().join("shards/00000")).unwrap();
    fs::write(folder.path().join("shards/00002/logits.parquet"), "short").unwrap();
    assert_eq!(repaired(folder.path()).dropped, [0, 2]);
    fill(folder.path(), &usual(), &[0, 1, 2]);
    assert_eq!(files_below(folder.path()), whole);
}

#[test]
fn a_manifest_is_made_again_from_the_shards() {
    for damage in ["flipped", "missing", "behind"] {
        let folder = tempfile::tempdir().unwrap();
        harvest_shards(folder.path(), &usual(), &[0, 1]);
        let path = folder.path().join("manifest.json");
        let behind = fs::read(&path).unwrap();
        fill(folder.path(), &usual(), &[2]);
        let whole = files_below(folder.path());
        match damage {
            "flipped" => flip(&path),
            "missing" => fs::remove_file(&path).unwrap(),
            _ => fs::write(&path, behind).unwrap(),
        }
        let done = repaired(folder.path());
        assert_eq!(
            done.repairs.iter().map(|it| (it.path.as_str(), it.action)).collect::<Vec<_>>(),
            [("manifest.json", "rewritten")]
        );
        assert_eq!(files_below(folder.path()), whole, "{damage}");
    }
}

#[test]
fn tables_of_plan_and_shards_are_restored_from_one_another() {
    let tables = ["plan/00001/sequences.parquet", "plan/00001/tokens.parquet", "shards/00001/sequences.parquet"];
    for table in tables {
        for remove in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            harvest_shards(folder.path(), &usual(), &[0, 1, 2]);
            let whole = files_below(folder.path());
            let path = folder.path().join(table);
            if remove {
                fs::remove_file(&path).unwrap();
            } else {
                flip(&path);
            }
            let done = repaired(folder.path());
            assert_eq!(
                done.repairs.iter().map(|it| (it.path.as_str(), it.action)).collect::<Vec<_>>(),
                [(table, "restored")]
            );
            assert_eq!(files_below(folder.path()), whole, "{table}");
        }
    }
}

#[test]
fn what_the_plan_cannot_fill_again_is_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    harvest_shards(folder.path(), &usual(), &[0, 1]);
    flip(&folder.path().join("plan/00001/tokens.parquet"));
    flip(&folder.path().join("shards/00001/tokens.parquet"));
    let done = repair(folder.path(), false, &mut |_| ()).unwrap();
    assert_eq!((done.lost.as_slice(), done.dropped.len()), (["plan/00001/tokens.parquet".to_owned()].as_slice(), 0));
    assert!(folder.path().join("shards/00001/blocks.3.hook_resid_pre.parquet").exists());

    let before = files_below(folder.path());
    flip(&folder.path().join("plan.json"));
    let error = repair(folder.path(), false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::PlanLost { .. }) && error.to_string().contains("harvest plan"), "{error}");
    assert_eq!(files_below(folder.path()).len(), before.len());
}

#[test]
fn shards_that_disagree_make_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (_, other) = unlike().remove(0);
    harvest_shards(&path("a"), &usual(), &[0]);
    harvest_shards(&path("b"), &other, &[1]);
    fs::rename(path("b/shards/00001"), path("a/shards/00001")).unwrap();
    fs::remove_file(path("a/manifest.json")).unwrap();
    let error = repair(&path("a"), false, &mut |_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::Mismatch { field, .. } if field == "model.tensors"), "{error}");
    fs::remove_dir_all(path("a/shards")).unwrap();
    assert!(repair(&path("a"), false, &mut |_| ()).unwrap_err().to_string().contains("harvest again"));
}

#[test]
fn no_cache_and_one_that_is_written_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(repair(folder.path(), false, &mut |_| ()).unwrap_err(), StoreError::MissingManifest { .. }));
    let settings = settings(Dtype::F32, Codec::RAW);
    harvest_shards(folder.path(), &settings, &[0]);
    let _writer = open(folder.path(), &settings, Existing::Resume).unwrap();
    assert!(matches!(repair(folder.path(), false, &mut |_| ()).unwrap_err(), StoreError::Locked { .. }));
}
