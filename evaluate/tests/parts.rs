//! Parts of evaluations, each measured and read from one file, compared byte for byte with one run over the whole
//! cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_evaluate::{KlChoice, PartialError, RunSettings, merge, prepare_baselines, run, run_part};
use hayloft_results::{Bootstrap, Breakdown, Results};
use hayloft_rows::{ExcludeChoice, OutlierNorm, ScaleChoice, SectionChoice};
use hayloft_runtime::{Dtype, Part, Progress};
use hayloft_store::{Codec, Section};
use tempfile::TempDir;

use crate::support::tiny::{Tiny, model, sae};

fn other_sae() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/saelens-metrics/jumprelu-scaled")
}

/// All options at once.
fn settings(tiny: &Tiny) -> RunSettings {
    RunSettings {
        sections: vec![SectionChoice::All, SectionChoice::Only(Section::Rollout)],
        outlier_norm: Some(6.0.into()),
        exclude: ExcludeChoice::Bos,
        kl: Some(KlChoice::Recomputed),
        bootstrap: Some(Bootstrap { resamples: 100 }),
        by_subset: true,
        scale: ScaleChoice::Auto,
        ..RunSettings::new(model(), tiny.cache(), vec![sae(), other_sae()])
    }
}

fn part(index: usize, of: usize) -> Part {
    Part::new(index, of).unwrap()
}

/// All written and printed forms of results.
fn shown(results: &Results) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    results.write(folder.path()).unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut shown: BTreeMap<String, Vec<u8>> = files
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    let breakdowns = [Breakdown::Subset, Breakdown::Position].map(|by| results.breakdown(by, 80));
    let printed = [results.json().unwrap(), results.table(80), results.details(80), breakdowns.join("\n")];
    shown.insert("printed".to_owned(), printed.join("\n").into_bytes());
    shown
}

/// Evaluates in parts, with a separate set of baselines, and returns the parts' files.
fn in_parts(settings: &RunSettings, of: usize, scratch: &TempDir) -> Vec<PathBuf> {
    let settings = RunSettings { baselines: Some(scratch.path().join(format!("baselines-{of}"))), ..settings.clone() };
    for index in (0..of).rev() {
        prepare_baselines(&settings, Some(part(index, of)), Progress::Silent)
            .unwrap_or_else(|error| panic!("{index}/{of}: {error}"));
    }
    let folder = scratch.path().join(format!("parts-{of}-{}", settings.saes.len()));
    let run = |index| {
        let results = run_part(&settings, part(index, of), Progress::Silent);
        results.unwrap_or_else(|error| panic!("{index}/{of}: {error}")).write(&folder).unwrap()
    };
    (0..of).map(run).collect()
}

fn assert_same(expected: &BTreeMap<String, Vec<u8>>, got: &Results, what: &str) {
    let got = shown(got);
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>(), "{what}");
    for (name, expected) in expected {
        assert!(*expected == got[name], "{what}: {name}\n{}", String::from_utf8_lossy(&got[name]));
    }
}

/// Several numbers of parts, with their files in another order.
fn assert_exact(settings: &RunSettings, counts: &[usize]) {
    let scratch = tempfile::tempdir().unwrap();
    let expected = run(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"));
    let expected = shown(&expected);
    for &of in counts {
        let mut files = in_parts(settings, of, &scratch);
        let middle = files.len() / 2;
        files.rotate_left(middle);
        assert_same(&expected, &merge(&files).unwrap_or_else(|error| panic!("{of}: {error}")), &format!("{of} parts"));
    }
}

#[test]
fn parts_of_everything_merge_to_one_run() {
    let tiny = Tiny::sharded(5, Codec::PLANES);
    assert_exact(&settings(&tiny), &[1, 2, 3, 7]);
    let results = run(&settings(&tiny), Progress::Silent).unwrap().results;
    assert!(results[0].sums.outlier_rows > 0 && results[0].sums.excluded_rows > 0 && results[0].shards.len() == 5);
}

#[test]
fn what_the_first_rows_say_is_in_the_merged_results() {
    let tiny = Tiny::sharded(4, Codec::INT8);
    let plain = RunSettings::new(model(), tiny.cache(), vec![sae(), other_sae()]);
    let settings = RunSettings { compute: Some(Dtype::Bf16), kl: Some(KlChoice::Bound), ..plain };
    assert_exact(&settings, &[3, 5]);
    let result = run(&settings, Progress::Silent).unwrap().results.remove(0);
    assert!(result.compute_effect.is_some_and(|effect| effect.figures["ce_recovered"].is_some()));
    assert!(result.stored_rounding.is_some_and(|rounding| rounding.ce_effect.is_some()));
}

#[test]
fn a_median_and_activations_without_a_model_merge_too() {
    let tiny = Tiny::sharded(4, Codec::PLANES);
    let median = RunSettings { outlier_norm: Some(OutlierNorm::MedianMultiple(1.05)), ..settings(&tiny) };
    assert_exact(&median, &[3]);
    assert_exact(&RunSettings { model: None, kl: None, ..settings(&tiny) }, &[2]);
}

#[test]
fn groups_of_saes_merge_to_one_run_of_all() {
    let tiny = Tiny::sharded(4, Codec::PLANES);
    let settings = settings(&tiny);
    let expected = shown(&run(&settings, Progress::Silent).unwrap());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let group = |sae: PathBuf| RunSettings { saes: vec![sae], ..settings.clone() };
    let mut files = in_parts(&group(sae()), 3, &first);
    let others = in_parts(&group(other_sae()), 2, &second);
    files.extend(others.clone());
    files.swap(0, 2);
    assert_same(&expected, &merge(&files).unwrap(), "groups");
    // In the other order, they are those of a run with the SAEs in that order.
    let reversed = RunSettings { saes: vec![other_sae(), sae()], ..settings.clone() };
    let folders = [second.path().join("parts-2-1"), first.path().join("parts-3-1")];
    assert_same(&shown(&run(&reversed, Progress::Silent).unwrap()), &merge(&folders).unwrap(), "reversed");
    let message = merge(&others[..1]).unwrap_err().to_string();
    assert!(message.contains("jumprelu-scaled") && message.contains("shards 2, 3"), "{message}");
}

#[test]
fn pieces_become_one_baseline_and_are_removed() {
    let tiny = Tiny::sharded(5, Codec::PLANES);
    let scratch = tempfile::tempdir().unwrap();
    let settings = RunSettings { baselines: Some(scratch.path().join("shelf")), ..settings(&tiny) };
    let names = || {
        let entries = std::fs::read_dir(scratch.path().join("shelf")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for index in 0..3 {
        let prepared = prepare_baselines(&settings, Some(part(index, 3)), Progress::Silent).unwrap();
        assert_eq!((prepared.of_shards, prepared.part), (5, Some(format!("{index}/3"))));
    }
    let pieces = names();
    // Losses and divergences of two sections, moments of two sections under two thresholds: one scale for both SAEs.
    assert_eq!(pieces.len() % 3, 0);
    assert!(pieces.iter().all(|name| name.contains(".part-") && name.contains("-of-3.safetensors")), "{pieces:?}");
    let found = run(&settings, Progress::Silent).unwrap();
    let whole = names();
    assert_eq!(whole.len() * 3, pieces.len());
    assert!(whole.iter().all(|name| !name.contains(".part-")), "{whole:?}");
    // The same as when computed at once.
    let fresh = RunSettings { baselines: Some(scratch.path().join("fresh")), ..settings.clone() };
    assert_eq!(run(&fresh, Progress::Silent).unwrap(), found);
    for name in whole {
        let read = |folder: &str| std::fs::read(scratch.path().join(folder).join(&name)).unwrap();
        assert!(read("shelf") == read("fresh"), "{name}");
    }
    // A part uses them, and leaves no other files.
    run_part(&settings, part(1, 3), Progress::Silent).unwrap();
    assert!(names().iter().all(|name| !name.contains(".part-")));
}

#[test]
fn a_part_says_whose_baselines_are_missing() {
    let tiny = Tiny::sharded(5, Codec::PLANES);
    let scratch = tempfile::tempdir().unwrap();
    let settings = RunSettings { baselines: Some(scratch.path().join("shelf")), ..settings(&tiny) };
    let refusal = |index| run_part(&settings, part(index, 2), Progress::Silent).unwrap_err().to_string();
    let message = refusal(0);
    assert!(message.contains("shards 2 to 4") && message.contains("--only-baselines"), "{message}");
    assert!(message.contains("shelf") && message.contains("--part 0/2"), "{message}");
    prepare_baselines(&settings, Some(part(1, 2)), Progress::Silent).unwrap();
    assert!(refusal(1).contains("shards 0, 1. Run every part"), "{}", refusal(1));
    // A part computes the missing baselines of its shards.
    run_part(&settings, part(0, 2), Progress::Silent).unwrap();
    run_part(&settings, part(1, 2), Progress::Silent).unwrap();
}

#[test]
fn baselines_that_cannot_be_kept_are_an_error_where_they_are_all_that_is_wanted() {
    let tiny = Tiny::sharded(2, Codec::PLANES);
    let scratch = tempfile::tempdir().unwrap();
    let in_the_way = scratch.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let settings = RunSettings { baselines: Some(in_the_way), ..settings(&tiny) };
    let message = prepare_baselines(&settings, Some(part(0, 2)), Progress::Silent).unwrap_err().to_string();
    assert!(message.contains("cannot write") && message.contains("--baselines"), "{message}");
    run(&settings, Progress::Silent).unwrap();
}

#[test]
fn parts_of_other_settings_or_caches_are_refused() {
    let (tiny, other) = (Tiny::sharded(3, Codec::PLANES), Tiny::sharded(3, Codec::INT8));
    let scratch = tempfile::tempdir().unwrap();
    let files = in_parts(&settings(&tiny), 2, &scratch);
    let elsewhere = tempfile::tempdir().unwrap();
    for (settings, words) in [
        (RunSettings { outlier_norm: Some(4.0.into()), ..settings(&tiny) }, "outlier_norm 6"),
        (RunSettings { sections: Vec::new(), ..settings(&tiny) }, "sections"),
        (RunSettings { kl: None, ..settings(&tiny) }, "kl"),
        (RunSettings { bootstrap: None, ..settings(&tiny) }, "bootstrap 100"),
        (settings(&other), "manifest_blake3"),
    ] {
        let folder = tempfile::tempdir_in(elsewhere.path()).unwrap();
        let others = in_parts(&settings, 2, &folder);
        let message = merge(&[files[0].clone(), others[1].clone()]).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("part-1-of-2"), "{words}: {message}");
        assert!(message.contains(files[0].to_str().unwrap()), "{message}");
    }
    let doubled = merge(&[files[0].clone(), files[1].clone(), in_parts(&settings(&tiny), 3, &scratch)[0].clone()]);
    assert!(matches!(doubled, Err(PartialError::Doubled { .. })), "{doubled:?}");
}
