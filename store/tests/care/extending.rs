use std::path::Path;

use hayloft_store::maintain::{Extended, Files, extend};
use hayloft_store::{Existing, HarvestSettings, Result, StoreError};

use super::{
    WAYS, assert_whole, at, field_of, flip, harvest_by_other_plan, harvest_by_other_tokenizer, harvest_shards, unlike,
    usual,
};
use crate::support::{files_below, open};

const A: &str = "blocks.1.hook_resid_post";
const B: &str = "blocks.2.hook_resid_pre";
const C: &str = "blocks.3.hook_resid_pre";

fn extended(cache: &Path, other: &Path) -> Result<Extended> {
    extend(cache, other, Files::LinkOrCopy, &mut |_| ())
}

#[test]
fn more_tokens_are_added_as_one_harvest_would_have_written_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("whole"), &usual(), &[0, 1, 2]);
    harvest_shards(&path("b"), &usual(), &[1, 2]);
    for (number, files) in WAYS.into_iter().enumerate() {
        let cache = path(&format!("a-{number}"));
        harvest_shards(&cache, &usual(), &[0, 1]);
        let added = extend(&cache, &path("b"), files, &mut |_| ()).unwrap();
        assert_eq!((added.added_shards.as_slice(), added.added_sites.len()), ([2].as_slice(), 0));
        assert_eq!(files_below(&cache), files_below(&path("whole")));
        let again = extend(&cache, &path("b"), files, &mut |_| ()).unwrap();
        assert_eq!((again.added_shards.len(), again.left_out.len(), again.shards), (0, 0, 3));
        assert_eq!(files_below(&cache), files_below(&path("whole")));
    }
}

#[test]
fn sites_are_added_as_one_harvest_would_have_written_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("whole"), &at(&usual(), &[A, B, C]), &[0, 1]);
    let without = HarvestSettings { predictions: None, ..at(&usual(), &[B, C]) };
    harvest_shards(&path("without"), &without, &[0, 1]);
    harvest_shards(&path("more"), &at(&usual(), &[B, C]), &[0, 1, 2]);
    for (number, other) in ["without", "more"].into_iter().enumerate() {
        for files in WAYS {
            let cache = path(&format!("cache-{number}-{files:?}"));
            harvest_shards(&cache, &at(&usual(), &[A, C]), &[0, 1]);
            let added = extend(&cache, &path(other), files, &mut |_| ()).unwrap();
            assert_eq!(added.added_sites.iter().map(ToString::to_string).collect::<Vec<_>>(), [B]);
            assert_eq!(added.added_shards, [0; 0]);
            // Shard 2 of the other has no A.
            assert_eq!(added.left_out, if other == "more" { vec![2] } else { vec![] });
            assert_eq!(files_below(&cache), files_below(&path("whole")));
            assert_whole(&cache);
        }
    }
}

#[test]
fn sites_and_shards_are_added_at_once_where_the_other_has_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("whole"), &at(&usual(), &[A, B]), &[0, 1, 2]);
    harvest_shards(&path("a"), &at(&usual(), &[A]), &[0, 2]);
    let added = extended(&path("a"), &path("whole")).unwrap();
    assert_eq!((added.added_sites.len(), added.added_shards.as_slice()), (1, [1].as_slice()));
    assert_eq!(files_below(&path("a")), files_below(&path("whole")));
}

#[test]
fn sites_are_refused_where_the_other_lacks_shards_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &at(&usual(), &[A]), &[0, 1, 2]);
    harvest_shards(&path("b"), &at(&usual(), &[B]), &[1]);
    let before = files_below(&path("a"));
    let text = extended(&path("a"), &path("b")).unwrap_err().to_string();
    assert!(text.contains("shards differs: expected 0, 2 too") && text.contains(B), "{text}");
    assert_eq!(files_below(&path("a")), before);

    harvest_shards(&path("c"), &at(&usual(), &[A, B]), &[0]);
    harvest_shards(&path("d"), &at(&usual(), &[B]), &[0, 1]);
    let text = extended(&path("c"), &path("d")).unwrap_err().to_string();
    assert!(text.contains("what shards 1 have differs") && text.contains(A), "{text}");
}

#[test]
fn caches_that_do_not_go_together_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0]);
    let before = files_below(&path("a"));
    for (field, settings) in unlike() {
        harvest_shards(&path(field), &settings, &[0, 1]);
        assert_eq!(field_of(extended(&path("a"), &path(field))), field);
    }
    harvest_by_other_tokenizer(&path("tokenizer"), &usual());
    assert_eq!(field_of(extended(&path("a"), &path("tokenizer"))), "tokenizer.blake3");
    harvest_by_other_plan(&path("plan"), &usual());
    assert_eq!(field_of(extended(&path("a"), &path("plan"))), "plan_blake3");
    // The same settings and sites, and yet another forward pass.
    harvest_shards(&path("other"), &usual(), &[1]);
    let mut writer = open(&path("other"), &usual(), Existing::Resume).unwrap();
    let shard = super::differing::other_shard(&writer, 0);
    writer.record(shard).unwrap();
    writer.finish().unwrap();
    assert_eq!(field_of(extended(&path("a"), &path("other"))), "shard 0");
    assert!(matches!(extended(&path("a"), &path("a")).unwrap_err(), StoreError::Invalid { .. }));
    assert_eq!(files_below(&path("a")), before);
}

#[test]
fn predictions_that_differ_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &at(&usual(), &[A]), &[0]);
    harvest_shards(&path("b"), &at(&usual(), &[B]), &[]);
    let mut writer = open(&path("b"), &at(&usual(), &[B]), Existing::Resume).unwrap();
    let shard = super::differing::other_shard(&writer, 0);
    writer.record(shard).unwrap();
    writer.finish().unwrap();
    assert_eq!(field_of(extended(&path("a"), &path("b"))), "predictions of shard 0");
}

#[test]
fn damage_of_the_other_is_refused_and_the_cache_stays_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &at(&usual(), &[A]), &[0, 1]);
    harvest_shards(&path("b"), &at(&usual(), &[B]), &[0, 1]);
    let before = files_below(&path("a/shards"));
    flip(&path("b/shards/00001").join(format!("{B}.parquet")));
    let error = extended(&path("a"), &path("b")).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { path, .. } if path.ends_with(format!("00001/{B}.parquet"))),
        "{error}"
    );
    assert_eq!(files_below(&path("a/shards")), before);
    assert_whole(&path("a"));
    let _writer = open(&path("a"), &at(&usual(), &[A]), Existing::Resume).unwrap();
    assert!(matches!(extended(&path("a"), &path("b")).unwrap_err(), StoreError::Locked { .. }));
}
