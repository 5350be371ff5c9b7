//! Whole evaluations on a small cache, compared with the definitions computed by brute force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hayloft_evaluate::{EvaluateError, RunSettings, run};
use hayloft_results::{Bootstrap, CleanSource, Columns, Results, SaeResult, Sums};
use hayloft_rows::{ScaleChoice, SectionChoice};
use hayloft_runtime::{Dtype, Progress};
use hayloft_store::{Cache, Codec, KeptPredictions, Section};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::tiny::{Tiny, expected, model, sae};

fn settings(tiny: &Tiny) -> RunSettings {
    RunSettings::new(model(), tiny.cache(), vec![sae()])
}

fn evaluate(settings: &RunSettings) -> Results {
    run(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"))
}

/// The mean norm of the activations: some are above it.
fn mean_norm(tiny: &Tiny) -> f64 {
    Cache::open(tiny.cache()).unwrap().manifest().sites[0].mean_norm
}

fn assert_columns(result: &SaeResult, expected: &BTreeMap<&str, f64>, tolerance: f64) {
    let columns = serde_json::to_value(result.columns).unwrap();
    assert_eq!(columns.as_object().unwrap().len(), expected.len());
    for (name, &expected) in expected {
        let got = columns[*name].as_f64().unwrap_or_else(|| panic!("{name} is undefined"));
        // Recovery divides by a small gap between losses of an untrained model, and so do the figures that depend on
        // it.
        let allowed = tolerance * expected.abs().max(1.0) * if *name == "ce_recovered" { 100.0 } else { 1.0 };
        assert!((got - expected).abs() < allowed, "{} {name}: {got}, expected {expected}", result.section);
    }
}

#[test]
fn every_section_agrees_with_the_definitions() {
    let tiny = Tiny::new();
    let sections = [
        SectionChoice::All,
        SectionChoice::Only(Section::UserPrompt),
        SectionChoice::Only(Section::Rollout),
        SectionChoice::Only(Section::Control),
        SectionChoice::Only(Section::Final),
    ];
    let settings = RunSettings { sections: sections.to_vec(), ..settings(&tiny) };
    let results = evaluate(&settings).results;
    assert_eq!(results.iter().map(|result| result.section).collect::<Vec<_>>(), sections);
    for result in &results {
        assert_columns(result, &expected(&result.section.to_string(), 1.0, None), 2e-5);
    }
}

#[test]
fn scale_and_outliers_agree_with_the_definitions() {
    let tiny = Tiny::new();
    let sections = vec![SectionChoice::All, SectionChoice::Only(Section::Rollout)];
    let scale = 1.7;
    let outlier_norm = Some(scale * mean_norm(&tiny));
    let outliers = outlier_norm.map(Into::into);
    let settings =
        RunSettings { sections, scale: ScaleChoice::Given(scale), outlier_norm: outliers, ..settings(&tiny) };
    for result in evaluate(&settings).results {
        let expected = expected(&result.section.to_string(), scale, outlier_norm);
        assert!(
            expected["outlier_rows"] > 0.0 && expected["activation_rows"] > 1.0,
            "the threshold excludes some rows: {expected:?}"
        );
        assert_columns(&result, &expected, 2e-5);
    }
}

#[test]
fn ablating_every_position_gives_the_uniform_loss() {
    let zero = evaluate(&settings(&Tiny::new())).results[0].columns.ce_zero.unwrap();
    assert!((zero - 320f64.ln()).abs() < 1e-5, "{zero}");
}

#[test]
fn one_pass_for_several_saes_equals_several_passes() {
    let tiny = Tiny::new();
    let together = evaluate(&RunSettings { saes: vec![sae(), sae()], ..settings(&tiny) }).results;
    let alone = evaluate(&settings(&tiny)).results;
    assert_eq!(together[0].sums, alone[0].sums);
    assert_eq!(together[1].sums, alone[0].sums);
    assert_ne!(together[0].sae, together[1].sae, "each has a distinct name");
}

#[test]
fn shards_merge_to_the_whole() {
    let result = &evaluate(&settings(&Tiny::new())).results[0];
    assert_eq!(result.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1]);
    let merged = Sums::total(result.shards.iter().map(|shard| &shard.sums));
    assert_eq!(merged, result.sums);
    assert_eq!(Columns::of(&merged, result.scale), result.columns);
}

#[test]
fn what_is_counted_in_bins_adds_up_to_the_sums() {
    let tiny = Tiny::new();
    let sections = vec![SectionChoice::All, SectionChoice::Only(Section::Rollout)];
    let outlier_norm = Some(mean_norm(&tiny).into());
    let settings = RunSettings { sections, outlier_norm, ..settings(&tiny) };
    let Results { results, latents, .. } = evaluate(&settings);
    for (SaeResult { sums, latents: summary, .. }, counts) in results.iter().zip(&latents) {
        assert_eq!(counts.rows, sums.activation_rows);
        assert_eq!(counts.firings.iter().sum::<u64>(), sums.latents);
        assert_eq!(summary, &counts.summary());
        let positions = &sums.positions;
        assert_eq!(positions.loss_tokens.values().iter().sum::<u64>(), sums.loss_tokens);
        let near = |bins: &[f64], sum: f64| (bins.iter().sum::<f64>() - sum).abs() < 1e-9 * sum;
        assert!(near(positions.clean_loss.values(), sums.clean_loss));
        assert!(near(positions.sae_loss.values(), sums.sae_loss));
        assert!(near(positions.zero_loss.values(), sums.zero_loss));
        assert_eq!(positions.activation_rows.values().iter().sum::<u64>(), sums.activation_rows);
        assert_eq!(positions.latents.values().iter().sum::<u64>(), sums.latents);
        assert!(near(positions.squared_error.values(), sums.squared_error));
        assert!(near(positions.squared_deviation.values(), sums.squared_deviation));
        assert_eq!(sums.norms.counts.iter().sum::<u64>(), sums.activation_rows + sums.outlier_rows);
    }
    // Six sequences of 14, 9, 7, 20, 12 and 8 tokens; the last one has no loss.
    let tokens = results[0].sums.positions.loss_tokens.values();
    assert_eq!(tokens, [6, 6, 6, 6, 6, 6, 5, 4, 6, 5, 3, 2, 3]);
    assert_eq!(results[1].sums.positions.loss_tokens.values()[..3], [0, 0, 0], "an answer never begins a sequence");
}

fn baselines(tiny: &Tiny) -> BTreeSet<String> {
    let entries = std::fs::read_dir(tiny.cache().join("baselines")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn baselines_are_kept_and_used_again() {
    let tiny = Tiny::new();
    let first = evaluate(&settings(&tiny)).results;
    let kept = baselines(&tiny);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(evaluate(&settings(&tiny)).results, first);
    // Another threshold changes moments but no losses.
    evaluate(&RunSettings { outlier_norm: Some(mean_norm(&tiny).into()), ..settings(&tiny) });
    let more: Vec<String> = baselines(&tiny).difference(&kept).cloned().collect();
    assert!(more.len() == 1 && more[0].starts_with("moments."), "{more:?}");
}

#[test]
fn a_kept_baseline_that_was_changed_is_computed_again() {
    let tiny = Tiny::new();
    let first = evaluate(&settings(&tiny)).results;
    for name in baselines(&tiny) {
        let path = tiny.cache().join("baselines").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let of_shards = metadata.info("rows").or_else(|| metadata.info("zero_loss")).unwrap();
        // After the length of the header, eight bytes, and the header.
        bytes[8 + header + of_shards.data_offsets.0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(evaluate(&settings(&tiny)).results, first);
}

#[test]
fn a_place_without_room_for_baselines_gives_the_same_figures() {
    let (tiny, other) = (Tiny::new(), Tiny::new());
    std::fs::write(tiny.cache().join("baselines"), "in the way").unwrap();
    assert_eq!(evaluate(&settings(&tiny)).results, evaluate(&settings(&other)).results);
}

#[test]
fn without_kept_losses_clean_ones_are_computed() {
    let tiny = Tiny::with(None, |_, _| {});
    let results = evaluate(&settings(&tiny));
    assert_eq!(results.clean_check, None);
    assert_eq!(results.results[0].clean_loss_source, Some(CleanSource::Recomputed));
    assert_columns(&results.results[0], &expected("all", 1.0, None), 2e-5);
}

#[test]
fn another_precision_computes_clean_losses_in_it() {
    let tiny = Tiny::new();
    let result = evaluate(&RunSettings { precision: Some(Dtype::Bf16), ..settings(&tiny) }).results.remove(0);
    assert_eq!((result.precision, result.clean_loss_source), (Dtype::Bf16, Some(CleanSource::Recomputed)));
    let expected = expected("all", 1.0, None);
    for (got, name) in [(result.columns.ce_clean, "ce_clean"), (result.columns.ce_sae, "ce_sae")] {
        assert!((got.unwrap() - expected[name]).abs() < 0.02, "{name}: {got:?}");
    }
    assert!((result.columns.l0.unwrap() - expected["l0"]).abs() < 1e-4, "SAEs run in f32 in any model dtype");
}

#[test]
fn without_a_model_the_figures_on_activations_are_the_same() {
    let tiny = Tiny::new();
    let with = evaluate(&settings(&tiny)).results.remove(0);
    let other = Tiny::new();
    let without = evaluate(&RunSettings { model: None, ..settings(&other) }).results.remove(0);
    let figures = |result: &SaeResult| {
        let Columns { l0, explained_variance, explained_variance_pooled, mse, activation_rows, .. } = result.columns;
        (l0, explained_variance, explained_variance_pooled, mse, activation_rows)
    };
    assert_eq!(figures(&without), figures(&with));
    let Columns { ce_clean, ce_sae, ce_zero, ce_recovered, loss_tokens, .. } = without.columns;
    assert_eq!((ce_clean, ce_sae, ce_zero, ce_recovered, loss_tokens), (None, None, None, None, 0));
    assert_eq!((without.clean_loss_source, &without.provenance.model), (None, &with.provenance.model));
    // The baselines kept beside the cache do not disturb a run with the model.
    assert_eq!(evaluate(&settings(&other)).results[0].columns, with.columns);
}

#[test]
fn bf16_reports_its_effect_on_each_figure() {
    let tiny = Tiny::new();
    let exact = evaluate(&settings(&tiny)).results.remove(0);
    assert_eq!(exact.compute_effect, None);
    let results = evaluate(&RunSettings { compute: Some(Dtype::Bf16), ..settings(&tiny) });
    let low = &results.results[0];
    let effect = low.compute_effect.as_ref().unwrap();
    assert_eq!((low.precision, low.clean_loss_source), (Dtype::Bf16, Some(CleanSource::Cache)));
    assert_eq!(low.columns.ce_clean, exact.columns.ce_clean, "clean losses stay the cache's");
    assert!(effect.activation_rows > 0);
    for (name, effect, low, exact) in [
        ("ce_sae", effect.figures["ce_sae"], low.columns.ce_sae, exact.columns.ce_sae),
        ("l0", effect.figures["l0"], low.columns.l0, exact.columns.l0),
        ("mse", effect.figures["mse"], low.columns.mse, exact.columns.mse),
    ] {
        let difference = (low.unwrap() - exact.unwrap()).abs();
        assert!(difference < 0.02 * exact.unwrap(), "{name}: {difference}");
        assert!(effect.unwrap().abs() < 0.04 * exact.unwrap(), "{name}: {effect:?}");
    }
    assert!(effect.figures["mse"].unwrap().abs() > 0.0, "bf16 is not float32");
    assert!(
        results.table(80).contains("What bf16 did to each figure") && results.markdown().contains("lower precision")
    );
}

#[test]
fn figures_do_not_depend_on_the_number_of_threads() {
    let tiny = Tiny::new();
    let on = |threads| {
        tch::set_num_threads(threads);
        evaluate(&settings(&tiny)).results.remove(0)
    };
    assert_eq!(on(1), on(5));
}

#[test]
fn a_profile_accounts_for_the_run() {
    let tiny = Tiny::new();
    let (results, profile) = hayloft_evaluate::run_profiled(&settings(&tiny), Progress::Silent).unwrap();
    assert_eq!((profile.tokens, results.tokens), (70, 70));
    for phase in ["decode", "encode", "reconstruct", "splice", "advance", "loss"] {
        let time = profile.phases.iter().find(|time| time.phase.to_string() == phase);
        assert!(time.is_some_and(|time| time.seconds > 0.0), "{phase}");
    }
    assert!(profile.floating_point_operations > 0 && profile.share_of_matrix_product_rate > 0.0);
}

#[test]
fn rows_that_are_not_finite_count_as_outliers() {
    let spoil = |number: usize, residual: &tch::Tensor| {
        if number == 3 {
            let _ = residual.get(5).fill_(f64::NAN);
        }
    };
    let tiny = Tiny::with(None, spoil);
    let result = evaluate(&settings(&tiny)).results.remove(0);
    assert_eq!((result.sums.non_finite_rows, result.columns.outlier_rows, result.columns.activation_rows), (1, 1, 69));
    assert!(result.columns.l0.is_some() && result.columns.mse.is_some() && result.columns.explained_variance.is_some());
    assert_eq!(result.columns.ce_sae, None, "a NaN in the residual makes losses NaN");
    // Undefined figures can be written, and baselines with them can be kept.
    let text = serde_json::to_string(&result).unwrap();
    assert!(serde_json::from_str::<SaeResult>(&text).unwrap().sums.sae_loss.is_nan());
    assert_eq!(evaluate(&settings(&tiny)).results[0].columns, result.columns);
}

#[test]
fn a_cache_whose_losses_do_not_follow_from_its_activations_is_refused() {
    let spoil = |number: usize, residual: &tch::Tensor| {
        if number == 0 {
            let _ = residual.get(3).fill_(2.0);
        }
    };
    let tiny = Tiny::with(Some(KeptPredictions::top(0)), spoil);
    let error = run(&settings(&tiny), Progress::Silent).unwrap_err();
    assert!(matches!(error, EvaluateError::CleanCheck { .. }), "{error}");
    assert!(error.to_string().contains("expected at most 1e-3"), "{error}");
    assert!(!tiny.cache().join("baselines").exists(), "no baseline may be kept");
}

#[test]
fn figures_of_rounded_activations_state_their_error() {
    let (exact, rounded) = (Tiny::new(), Tiny::coded(Codec::INT8, KeptPredictions::top(0)));
    let (exact, rounded) = (evaluate(&settings(&exact)), evaluate(&settings(&rounded)));
    assert_eq!(exact.results[0].stored_rounding, None);
    let rounding = rounded.results[0].stored_rounding.unwrap();
    assert!(rounding.relative_error > 1e-4 && rounding.relative_error < 0.02, "{rounding:?}");
    let effect = rounding.ce_effect.unwrap();
    assert!(effect.abs() > 0.0 && effect.abs() < 0.05, "{rounding:?}");
    for text in [rounded.table(80), rounded.markdown()] {
        assert!(text.contains("stored as int8, with a relative error of 0.0"), "{text}");
    }
    assert!(!exact.table(80).contains("int8"));
    let (exact, rounded) = (&exact.results[0].columns, &rounded.results[0].columns);
    assert!((exact.ce_clean.unwrap() - rounded.ce_clean.unwrap()).abs() < f64::EPSILON, "the cache's own losses");
    let (exact, rounded) = (exact.ce_sae.unwrap(), rounded.ce_sae.unwrap());
    assert!((exact - rounded).abs() < 0.05 && (exact - rounded).abs() > 0.0, "{exact} {rounded}");
}

#[test]
fn the_clean_check_reports_its_difference() {
    let check = evaluate(&settings(&Tiny::new())).clean_check.unwrap();
    assert_eq!(check.tokens, 14 + 9 - 2);
    assert!(check.max_difference < 1e-5, "{check:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let tiny = Tiny::new();
    let refuse = |settings: RunSettings| run(&settings, Progress::Silent).unwrap_err().to_string();
    assert!(refuse(RunSettings { saes: Vec::new(), ..settings(&tiny) }).contains("at least one SAE"));
    for norm in [0.0, -1.0, f64::NAN] {
        assert!(refuse(RunSettings { outlier_norm: Some(norm.into()), ..settings(&tiny) }).contains("outlier norm"));
    }
    let scale = ScaleChoice::Given(f64::INFINITY);
    assert!(refuse(RunSettings { scale, ..settings(&tiny) }).contains("scale"));
    let section = SectionChoice::Only(Section::Text);
    let message = refuse(RunSettings { sections: vec![section], ..settings(&tiny) });
    assert!(message.contains("section text") && message.contains("rollout ("), "{message}");
}

#[test]
fn results_are_written_in_every_form() {
    let results = evaluate(&settings(&Tiny::new()));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/results");
    results.write(&out).unwrap();
    let names: BTreeSet<String> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(
        names,
        ["results.csv", "results.json", "results.md", "sae.all.json", "sae.all.latents.safetensors"]
            .map(str::to_owned)
            .into()
    );
    let read: Vec<SaeResult> = serde_json::from_slice(&std::fs::read(out.join("results.json")).unwrap()).unwrap();
    assert_eq!(read, results.results, "JSON gives back every bit");
    assert!(results.table(80).lines().all(|line| line.chars().count() <= 80), "{}", results.table(80));
    let details = results.details(80);
    assert!(details.lines().all(|line| line.chars().count() <= 80) && details.contains("Rel. bias"), "{details}");
    let csv = String::from_utf8(results.csv().unwrap()).unwrap();
    assert!(csv.starts_with("sae,section,site,l0,ce_recovered,") && csv.lines().count() == 2, "{csv}");
}

/// Side by side in the first table, each with SAELens's name.
#[test]
fn both_explained_variances_are_printed() {
    let results = evaluate(&settings(&Tiny::new()));
    let Columns { explained_variance, explained_variance_pooled, .. } = results.results[0].columns;
    let [mean, pooled] =
        [explained_variance, explained_variance_pooled].map(|share| format!("{:.2}", 100.0 * share.unwrap()));
    assert_ne!(mean, pooled);
    let table = results.table(80);
    let first: Vec<&str> = table.lines().find(|line| line.contains("sae")).unwrap().split_whitespace().collect();
    assert!(first.windows(2).any(|cells| cells == [mean.as_str(), pooled.as_str()]), "{table}");
    let markdown = results.markdown();
    assert!(markdown.contains("| EV % | EV pooled % |") && markdown.contains(&format!("| {mean} | {pooled} |")));
    for text in [&table, &markdown] {
        assert!(
            text.contains("SAELens's explained_variance_legacy") && text.contains("SAELens's explained_variance\n")
                || text.contains("SAELens's explained_variance."),
            "{text}"
        );
    }
    let csv = String::from_utf8(results.csv().unwrap()).unwrap();
    assert!(csv.lines().next().unwrap().contains(",explained_variance,explained_variance_pooled,"), "{csv}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let results = Results { results: Vec::new(), latents: Vec::new(), clean_check: None, tokens: 0 };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let message = results.write(&file).unwrap_err().to_string();
    assert!(message.contains("file/results.csv: cannot write"), "{message}");
}

/// Every field of a result is in `RESULTS.md`, by its name in code type.
#[test]
fn the_document_describes_every_field() {
    let document = include_str!("../../crates/results/RESULTS.md");
    let tiny = Tiny::new();
    let bootstrap = Some(Bootstrap::default());
    let settings = RunSettings { saes: vec![sae(), sae()], bootstrap, by_subset: true, ..settings(&tiny) };
    let result = evaluate(&settings).results.remove(1);
    let mut names = BTreeSet::new();
    collect_names(&serde_json::to_value(&result).unwrap(), &mut names);
    let missing: Vec<&String> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{} does not describe {missing:?}", Path::new("RESULTS.md").display());
    assert_eq!(result.definitions, "hayloft/crates/results/RESULTS.md#columns v1");
}

fn collect_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                collect_names(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}
