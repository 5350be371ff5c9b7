use std::fs;
use std::path::Path;

use hayloft_store::maintain::{Upgraded, extend, merge, upgrade};
use hayloft_store::{Codec, Dtype, Existing, FORMAT_VERSION, StoreError};

use crate::support::{Everything, files_below, fill_shard, open, read_everything, settings};
use crate::{WAYS, assert_whole, harvest_shards, is_table};

/// A copy of a cache that format 1 wrote.
fn old_cache(name: &str, folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1").join(name);
    for (name, bytes) in files_below(&from) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn an_old_cache_becomes_a_new_one_with_the_same_numbers() {
    for (name, dtype, codec) in [("bf16-planes", Dtype::Bf16, Codec::Planes), ("f16-raw", Dtype::F16, Codec::Raw)] {
        let folder = tempfile::tempdir().unwrap();
        old_cache(name, folder.path());
        let (before, files) = (read_everything(folder.path()).unwrap(), files_below(folder.path()));
        let expected = Upgraded { from: 1, to: FORMAT_VERSION, shards: 3 };
        assert_eq!(upgrade(folder.path(), true, &mut |_| ()).unwrap(), expected);
        assert_eq!(files_below(folder.path()), files, "a dry run writes nothing");
        assert_eq!(upgrade(folder.path(), false, &mut |_| ()).unwrap(), expected);
        assert_whole(folder.path());
        let after = read_everything(folder.path()).unwrap();
        assert_eq!(after.shards, before.shards);
        for (name, bytes) in files_below(folder.path()) {
            assert_eq!(is_table(&name), files[&name] == bytes, "{name}");
        }
        let Everything { manifest, .. } = &after;
        assert_eq!((manifest.format, &manifest.sites), (FORMAT_VERSION, &before.manifest.sites));
        let new = tempfile::tempdir().unwrap();
        let harvested = harvest_shards(new.path(), &settings(dtype, codec), &[0, 1, 2]);
        assert_eq!(manifest.statistics, harvested.statistics);
        assert_eq!(manifest.plan_blake3, harvested.plan_blake3);
        let again = upgrade(folder.path(), false, &mut |_| ()).unwrap();
        assert_eq!(again, Upgraded { from: FORMAT_VERSION, to: FORMAT_VERSION, shards: 0 });
    }
}

#[test]
fn an_old_cache_can_be_added_to_after_its_upgrade_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new, out) = (folder.path().join("old"), folder.path().join("new"), folder.path().join("out"));
    old_cache("bf16-planes", &old);
    let settings = settings(Dtype::Bf16, Codec::Planes);
    harvest_shards(&new, &settings, &[0]);
    let inputs = [old.clone(), new.clone()];
    let merged = merge(&inputs, &out, WAYS[0], Existing::Refuse, &mut |_| ());
    assert!(matches!(merged.unwrap_err(), StoreError::OldVersion { got: 1, .. }));
    assert!(!out.exists());
    assert!(matches!(extend(&old, &new, WAYS[0], &mut |_| ()).unwrap_err(), StoreError::OldVersion { got: 1, .. }));
    upgrade(&old, false, &mut |_| ()).unwrap();
    fs::remove_dir_all(old.join("shards/00002")).unwrap();
    let mut writer = open(&old, &settings, Existing::Resume).unwrap();
    assert!(writer.is_complete(0) && !writer.is_complete(2));
    let shard = fill_shard(&writer, 2).unwrap();
    writer.record(shard).unwrap();
    writer.finish().unwrap();
    assert_whole(&old);
}

#[test]
fn a_plan_without_shards_is_upgraded_too() {
    let folder = tempfile::tempdir().unwrap();
    old_cache("f32-planes", folder.path());
    fs::remove_file(folder.path().join("manifest.json")).unwrap();
    assert!(upgrade(folder.path(), false, &mut |_| ()).unwrap_err().to_string().contains("store repair"));
    fs::remove_dir_all(folder.path().join("shards")).unwrap();
    assert_eq!(upgrade(folder.path(), false, &mut |_| ()).unwrap().from, 1);
    open(folder.path(), &settings(Dtype::F32, Codec::Planes), Existing::Refuse).unwrap();
}

#[test]
fn damage_is_found_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    old_cache("bf16-planes", folder.path());
    crate::flip(&folder.path().join("shards/00002/tokens.parquet"));
    let before = files_below(&folder.path().join("shards"));
    let error = upgrade(folder.path(), false, &mut |_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if path.ends_with("00002/tokens.parquet")), "{error}");
    assert_eq!(files_below(&folder.path().join("shards")), before);
    assert_eq!(read_everything(folder.path()).unwrap_err().to_string(), error.to_string());
}
