use std::collections::BTreeMap;
use std::path::Path;

use hayloft_store::maintain::{Files, Selected, Selection, select};
use hayloft_store::{Cache, Codec, Dtype, Result, Section, StoreError};

use super::{WAYS, assert_whole, at, fill, harvest_shards, is_table, usual};
use crate::support::{files_below, read_everything, settings};

const PRE: &str = "blocks.3.hook_resid_pre";

fn selected(cache: &Path, out: &Path, selection: &Selection) -> Result<Selected> {
    select(cache, out, selection, Files::LinkOrCopy, &mut |_| ())
}

/// What is stored of each sequence: its tokens, the words of each site and of the logits, and its losses, in words.
fn by_sequence(folder: &Path) -> BTreeMap<u64, String> {
    let cache = Cache::open(folder).unwrap();
    let mut all = BTreeMap::new();
    for place in 0..cache.shards() {
        let shard = cache.shard(place).unwrap();
        let (tokens, predictions) = (shard.tokens().unwrap(), shard.predictions().unwrap().unwrap());
        let mut files: Vec<_> =
            cache.manifest().settings().sites.iter().map(|site| shard.activations(site).unwrap()).collect();
        files.extend(shard.logits().unwrap());
        let mut group_start = 0;
        let mut row_group = 0;
        for sequence in shard.sequences() {
            if sequence.row_group != row_group {
                (row_group, group_start) = (sequence.row_group, sequence.first_row);
            }
            let rows = sequence.first_row as usize..sequence.first_row as usize + sequence.length as usize;
            let in_group = rows.start - group_start as usize..rows.end - group_start as usize;
            let mut words = Vec::new();
            let mut bits = Vec::new();
            for file in &files {
                file.read_rows(row_group as usize, in_group.clone(), &mut bits).unwrap();
                words.push(bits.clone());
            }
            let top = rows.start * predictions.top_k..rows.end * predictions.top_k;
            let text = format!(
                "{:?}",
                (
                    (sequence.document, &sequence.subset, &tokens.token[rows.clone()], &tokens.section[rows.clone()]),
                    (&predictions.loss[rows.clone()], &predictions.entropy[rows], &predictions.top_ids[top]),
                    words,
                )
            );
            assert!(all.insert(sequence.id, text).is_none());
        }
    }
    all
}

#[test]
fn sites_and_shards_are_the_same_files_under_the_same_plan() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1, 2]);
    let selection =
        Selection { sites: vec![PRE.parse().unwrap()], shards: Some("1..".parse().unwrap()), ..Selection::default() };
    for files in WAYS {
        let out = path(&format!("{files:?}"));
        let chosen = select(&path("a"), &out, &selection, files, &mut |_| ()).unwrap();
        assert_eq!((chosen.shards, chosen.tokens, chosen.new_plan), (2, 25, false));
        let (before, after) = (files_below(&path("a")), files_below(&out));
        for (name, bytes) in &after {
            if is_table(name) || name == "plan.json" {
                assert_eq!(before.get(name), Some(bytes), "{name}");
            }
        }
        assert!(!after.keys().any(|name| name.contains("hook_resid_post") || name.contains("shards/00000")));
        assert_whole(&out);
        // The plan is that of the whole, so the rest can be harvested into it.
        fill(&out, &at(&usual(), &[PRE]), &[0]);
        assert_eq!(by_sequence(&out).len(), 10);
    }
}

#[test]
fn sequences_are_carried_over_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1, 2]);
    let all = by_sequence(&path("a"));
    let subset = Selection { subsets: vec!["ArXiv".to_owned()], ..Selection::default() };
    let range = Selection { sequences: Some("3..9".parse().unwrap()), ..Selection::default() };
    let both = Selection { sections: vec![Section::Text], sequences: Some("4..".parse().unwrap()), ..subset.clone() };
    let asked: [(&str, Selection, &[u64]); 3] =
        [("subset", subset, &[2, 4, 8]), ("range", range, &[3, 4, 5, 6, 7, 8]), ("both", both, &[8])];
    for (name, selection, ids) in asked {
        let chosen = selected(&path("a"), &path(name), &selection).unwrap();
        assert!(chosen.new_plan && chosen.sequences == ids.len() as u64);
        let kept = by_sequence(&path(name));
        assert_eq!(kept.keys().copied().collect::<Vec<_>>(), ids, "{name}");
        assert!(kept.iter().all(|(id, stored)| all[id] == *stored), "{name}");
        assert_whole(&path(name));
        let manifest = Cache::open(path(name)).unwrap().manifest().clone();
        let from = &manifest.corpus.selected_from[0];
        assert_eq!(from.plan_blake3, Cache::open(path("a")).unwrap().manifest().plan_blake3);
        assert!(from.what.starts_with("--"), "{}", from.what);
        assert_eq!(manifest.held, manifest.planned);
        let statistics: u64 = manifest.statistics.iter().map(|group| group.tokens).sum();
        assert_eq!(statistics, chosen.tokens);
    }
    // A selection can be selected from, and remembers both.
    let narrower = Selection {
        sites: vec![PRE.parse().unwrap()],
        sequences: Some("..5".parse().unwrap()),
        ..Selection::default()
    };
    selected(&path("subset"), &path("narrower"), &narrower).unwrap();
    let manifest = Cache::open(path("narrower")).unwrap().manifest().clone();
    let what: Vec<&str> = manifest.corpus.selected_from.iter().map(|from| from.what.as_str()).collect();
    assert_eq!(what, ["--subset \"ArXiv\"", "--sequences ..5"]);
    assert_eq!((manifest.held.sequences, manifest.sites.len()), (2, 1));
}

#[test]
fn all_sequences_make_the_sums_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for codec in [Codec::PLANES, Codec::RAW] {
        let cache = path(&codec.to_string());
        harvest_shards(&cache, &settings(Dtype::F32, codec), &[0, 1, 2]);
        let all = Selection { sections: vec![Section::Bos], ..Selection::default() };
        let out = path(&format!("{codec}-all"));
        selected(&cache, &out, &all).unwrap();
        let (whole, chosen) = (read_everything(&cache).unwrap(), read_everything(&out).unwrap());
        assert_eq!(whole.manifest.held, chosen.manifest.held);
        // Shards are filled up again, so sums are added up in another order.
        let (whole, chosen) = (whole.manifest.sites[0].mean_norm, chosen.manifest.sites[0].mean_norm);
        assert!((whole - chosen).abs() < 1e-12 * whole, "{whole} {chosen}");
    }
}

#[test]
fn what_cannot_be_selected_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    harvest_shards(&path("a"), &usual(), &[0, 1]);
    let refused =
        |selection: Selection, out: &str| selected(&path("a"), &path(out), &selection).unwrap_err().to_string();
    let ids = |range: &str| Selection { sequences: Some(range.parse().unwrap()), ..Selection::default() };
    assert!(refused(Selection::default(), "out").contains("--section"));
    assert!(refused(ids("90.."), "out").contains("no sequence of that kind"));
    assert!(
        refused(Selection { shards: Some("2..".parse().unwrap()), ..Selection::default() }, "out")
            .contains("none of its shards")
    );
    let text = refused(Selection { subsets: vec!["Arxiv".to_owned()], ..Selection::default() }, "out");
    assert!(text.contains("expected ArXiv, Books, got Arxiv"), "{text}");
    let text = refused(Selection { sections: vec![Section::Rollout], ..Selection::default() }, "out");
    assert!(text.contains("expected text, bos, got rollout"), "{text}");
    let text = refused(Selection { sites: vec!["blocks.9.x".parse().unwrap()], ..Selection::default() }, "out");
    assert!(text.contains("hook_resid_post"), "{text}");
    for out in ["a", "a/in"] {
        assert!(refused(ids("..2"), out).contains("apart from"));
    }
    std::fs::create_dir(path("there")).unwrap();
    assert!(refused(ids("..2"), "there").contains("not there yet"));
    harvest_shards(&path("int8"), &settings(Dtype::Bf16, Codec::INT8), &[0]);
    let error = selected(&path("int8"), &path("out"), &ids("..2")).unwrap_err();
    assert!(matches!(&error, StoreError::Invalid { got, .. } if got == "int8"), "{error}");
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a", "int8", "there"]);
}
