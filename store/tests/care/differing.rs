use hayloft_store::maintain::diff;
use hayloft_store::{CacheWriter, Existing, WrittenShard};

use super::{at, harvest_by_other_tokenizer, harvest_shards, unlike, usual};
use crate::support::{bits, logits, open, predictions, read_everything};

/// A shard whose first site has another word in row 10, and whose first loss is another.
pub(crate) fn other_shard(writer: &CacheWriter, index: usize) -> WrittenShard {
    let settings = writer.settings().clone();
    let (sequences, _) = writer.plan_shard(index).unwrap();
    let mut shard = writer.begin_shard(index).unwrap();
    for (row_group, rows) in shard.row_group_rows().to_vec().into_iter().enumerate() {
        for (place, site) in settings.sites.iter().enumerate() {
            let mut words = bits(&settings, index, site, row_group, rows);
            if place == 0 && row_group == 0 {
                // Row 3, dimension 2.
                let word = &mut words[(3 * settings.model.d_model + 2) * 2..][..2];
                word.copy_from_slice(&half::bf16::from_f32(100.0).to_le_bytes());
            }
            shard.write_activations(site, words).unwrap();
        }
        shard.write_logits(logits(&settings, index, row_group, rows)).unwrap();
    }
    let mut predictions = predictions(&settings, &sequences);
    if let Some(predictions) = &mut predictions {
        predictions.loss[1] += 0.25;
    }
    shard.finish(predictions).unwrap()
}

#[test]
fn equal_caches_have_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1]);
    harvest_shards(&path("b"), &usual(), &[0, 1]);
    let found = diff(&path("a"), &path("b"), true, &mut |_| ()).unwrap();
    assert!(found.is_empty() && found.values.is_empty(), "{found:?}");
}

#[test]
fn settings_plans_and_shards_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1]);
    for (field, settings) in unlike() {
        harvest_shards(&path(field), &settings, &[1, 2]);
        let found = diff(&path("a"), &path(field), false, &mut |_| ()).unwrap();
        assert!(found.settings.iter().any(|setting| setting.field == field), "{found:?}");
        assert_eq!((found.only_a.as_slice(), found.only_b.as_slice()), ([0].as_slice(), [2].as_slice()));
        assert!(found.plan.is_empty() && !found.is_empty());
    }
    harvest_by_other_tokenizer(&path("tokenizer"), &usual());
    let found = diff(&path("a"), &path("tokenizer"), false, &mut |_| ()).unwrap();
    let fields: Vec<&str> = found.plan.iter().map(|setting| setting.field.as_str()).collect();
    assert_eq!(fields, ["tokenizer.blake3", "plan_blake3"]);
}

#[test]
fn a_file_that_one_lacks_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0]);
    harvest_shards(&path("b"), &at(&usual(), &["blocks.3.hook_resid_pre"]), &[0]);
    let found = diff(&path("a"), &path("b"), true, &mut |_| ()).unwrap();
    let files: Vec<(&str, bool, bool)> =
        found.files.iter().map(|file| (file.file.as_str(), file.a.is_some(), file.b.is_some())).collect();
    assert_eq!(files, [("blocks.3.hook_resid_post.parquet", true, false), ("tokens.parquet", true, true)]);
    // The losses are the same, though the table is not.
    assert_eq!(
        found.values.iter().map(|values| (values.what.as_str(), values.differing)).collect::<Vec<_>>(),
        [("loss", 0)]
    );
}

#[test]
fn numbers_that_differ_are_counted_and_placed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1]);
    harvest_shards(&path("b"), &usual(), &[1]);
    let mut writer = open(&path("b"), &usual(), Existing::Resume).unwrap();
    let shard = other_shard(&writer, 0);
    writer.record(shard).unwrap();
    writer.finish().unwrap();
    let found = diff(&path("a"), &path("b"), true, &mut |_| ()).unwrap();
    let [site, loss] = found.values.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (site.what.as_str(), site.shard, site.differing, site.compared),
        ("blocks.3.hook_resid_post", 0, 1, 29 * 5)
    );
    let first = site.first.unwrap();
    assert_eq!((first.sequence, first.position, first.dimension), (0, 3, Some(2)));
    let everything = read_everything(&path("a")).unwrap();
    let word = &everything.shards[0].activations[0][0][(3 * 5 + 2) * 2..][..2];
    let was = f64::from(half::bf16::from_le_bytes([word[0], word[1]]).to_f32());
    assert!((site.largest_absolute - (100.0 - was)).abs() < 1e-9);
    assert!((site.largest_relative - (100.0 - was) / 100.0).abs() < 1e-9);
    assert_eq!((loss.what.as_str(), loss.differing, loss.compared), ("loss", 1, 29 - 5));
    assert!((loss.largest_absolute - 0.25).abs() < 1e-6);
    assert_eq!(loss.first.unwrap().position, 1);
}
