//! Intervals, differences and breakdowns of whole evaluations on a small cache.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_evaluate::{EvaluateError, KlChoice, RunSettings, run};
use hayloft_results::{Bootstrap, Breakdown, MetricsChoice, Results, SaeResult, SubsetFigures};
use hayloft_rows::{ScaleChoice, SectionChoice};
use hayloft_runtime::Progress;
use hayloft_store::{Cache, Section};

use crate::support::tiny::{Tiny, model, sae};

fn other_sae() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/saelens-metrics/jumprelu-scaled")
}

fn settings(tiny: &Tiny) -> RunSettings {
    let sections = vec![SectionChoice::All, SectionChoice::Only(Section::Rollout)];
    let bootstrap = Some(Bootstrap { resamples: 200 });
    let saes = vec![sae(), other_sae(), sae()];
    let scale = ScaleChoice::None;
    RunSettings { sections, bootstrap, scale, by_subset: true, ..RunSettings::new(model(), tiny.cache(), saes) }
}

fn evaluate(settings: &RunSettings) -> Results {
    run(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn intervals_leave_figures_unchanged() {
    let tiny = Tiny::new();
    let settings = RunSettings { kl: Some(KlChoice::Exact), ..settings(&tiny) };
    let plain = evaluate(&RunSettings { bootstrap: None, by_subset: false, ..settings.clone() }).results;
    for (result, plain) in evaluate(&settings).results.into_iter().zip(plain) {
        let intervals = result.intervals.clone().unwrap();
        assert_eq!((intervals.sequences, intervals.resamples), (6, 200));
        let value = serde_json::to_value(&result).unwrap();
        for (name, interval) in &intervals.figures {
            let figure = value[name].as_f64().or_else(|| value["kl"][name].as_f64()).unwrap();
            let room = 1e-6 * figure.abs();
            // With six sequences, the correction for bias may exclude the figure itself, but only by little.
            let width = 2.0 * interval.half_width() + room;
            assert!(interval.low - width <= figure && figure <= interval.high + width, "{name} {figure}: {interval:?}");
        }
        assert_eq!(intervals.figures.len(), 17);
        assert_eq!(SaeResult { intervals: None, subsets: Vec::new(), ..result }, plain);
    }
}

#[test]
fn equal_saes_do_not_differ_and_unequal_ones_do() {
    let results = evaluate(&settings(&Tiny::new())).results;
    assert!(results[..2].iter().all(|first| first.intervals.as_ref().unwrap().difference.is_none()));
    for place in [2, 3] {
        let difference = results[place].intervals.as_ref().unwrap().difference.as_ref().unwrap();
        let (own, first) = (&results[place].columns, &results[place - 2].columns);
        let mse = difference.figures["mse"].difference;
        assert!((mse - (own.mse.unwrap() - first.mse.unwrap())).abs() < 1e-5, "{mse}");
        assert!(difference.figures["ce_sae"].interval.half_width() > 0.0);
        // Figures that depend on no SAE differ nowhere.
        assert!(difference.figures["ce_zero"].interval.half_width().abs() < f64::EPSILON);
        assert_eq!(difference.from, results[0].sae);
    }
    for same in &results[4..] {
        let difference = same.intervals.as_ref().unwrap().difference.as_ref().unwrap();
        let zero = |own: f64| own.abs() < f64::EPSILON;
        assert!(difference.figures.values().all(|own| zero(own.difference) && zero(own.interval.half_width())));
        assert_eq!(difference.figures.len(), 14, "all but divergences");
    }
}

/// A paired difference varies less than either figure: intervals of differences are narrower than those of figures.
#[test]
fn differences_are_paired() {
    let results = evaluate(&settings(&Tiny::new())).results;
    let intervals = results[2].intervals.as_ref().unwrap();
    let apart = intervals.difference.as_ref().unwrap().figures["ce_sae"].interval.half_width();
    assert!(apart < 0.8 * intervals.figures["ce_sae"].half_width(), "{apart}");
}

#[test]
fn what_is_of_other_rows_or_scales_is_not_compared() {
    let tiny = Tiny::new();
    let figures = |settings: &RunSettings| {
        let results = evaluate(settings).results;
        let difference = results[2].intervals.as_ref().unwrap().difference.clone().unwrap();
        difference.figures.into_keys().collect::<Vec<_>>()
    };
    // The second SAE is scaled, the first is not.
    let scaled = figures(&RunSettings { scale: ScaleChoice::FollowSae, ..settings(&tiny) });
    assert!(!scaled.contains(&"mse".to_owned()) && !scaled.contains(&"l1".to_owned()), "{scaled:?}");
    assert!(scaled.contains(&"mse_raw".to_owned()) && scaled.contains(&"l0".to_owned()), "{scaled:?}");
    // After scaling, the threshold excludes other rows.
    let mean = Cache::open(tiny.cache()).unwrap().manifest().sites[0].mean_norm;
    let outlier_norm = Some(mean);
    let outliers = figures(&RunSettings {
        scale: ScaleChoice::FollowSae,
        outlier_norm: outlier_norm.map(Into::into),
        ..settings(&tiny)
    });
    assert_eq!(outliers, ["ce_clean", "ce_delta", "ce_recovered", "ce_sae", "ce_zero"]);
}

#[test]
fn intervals_do_not_depend_on_the_number_of_threads() {
    let tiny = Tiny::new();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate(&settings(&tiny)).results)
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn subsets_add_up_to_the_whole() {
    let tiny = Tiny::new();
    for result in evaluate(&settings(&tiny)).results {
        let subsets: BTreeMap<Option<&str>, &SubsetFigures> =
            result.subsets.iter().map(|own| (own.subset.as_deref(), own)).collect();
        assert_eq!(subsets.keys().copied().collect::<Vec<_>>(), [None, Some("even chats")]);
        assert_eq!(result.subsets.iter().map(|own| own.sequences).sum::<usize>(), 6);
        let columns = &result.columns;
        let losses: f64 =
            subsets.values().map(|own| own.columns.ce_zero.unwrap() * own.columns.loss_tokens as f64).sum();
        assert!((losses / columns.loss_tokens as f64 - columns.ce_zero.unwrap()).abs() < 1e-5);
        let latents: f64 =
            subsets.values().map(|own| own.columns.l0.unwrap() * own.columns.activation_rows as f64).sum();
        assert!((latents / columns.activation_rows as f64 - columns.l0.unwrap()).abs() < 1e-6);
    }
}

#[test]
fn without_a_model_there_are_intervals_of_activations() {
    let tiny = Tiny::new();
    let result = evaluate(&RunSettings { model: None, ..settings(&tiny) }).results.remove(0);
    let figures = result.intervals.unwrap().figures;
    assert!(figures.contains_key("l0") && !figures.contains_key("ce_sae"), "{figures:?}");
    assert_eq!(result.subsets[0].columns.ce_clean, None);
}

#[test]
fn tables_show_what_was_asked_for() {
    let tiny = Tiny::new();
    let settings = RunSettings { sections: Vec::new(), ..settings(&tiny) };
    let results = evaluate(&settings);
    let (table, markdown) = (results.table(80), results.markdown());
    for text in [&table, &markdown] {
        assert!(text.contains("bootstrap (BCa) over 6 sequences, 200 resamples") && text.contains('±'), "{text}");
        assert!(text.contains("Differences from "), "{text}");
    }
    let subsets = results.breakdown(Breakdown::Subset, 80);
    assert!(subsets.contains("even chats") && subsets.contains("all rows, by subset"), "{subsets}");
    let positions = results.breakdown(Breakdown::Position, 80);
    assert!(positions.contains("16–19") && positions.contains("all rows, by position"), "{positions}");
    for text in [&table, &subsets, &positions] {
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
    assert!(!evaluate(&RunSettings { bootstrap: None, ..settings }).table(80).contains('±'));
    assert_eq!(MetricsChoice::default(), MetricsChoice::Study);
}

#[test]
fn too_few_resamples_are_refused() {
    let tiny = Tiny::new();
    let settings = RunSettings { bootstrap: Some(Bootstrap { resamples: 3 }), ..settings(&tiny) };
    let error = run(&settings, Progress::Silent).unwrap_err();
    assert!(matches!(error, EvaluateError::Setting { .. }) && error.to_string().contains("resamples"), "{error}");
}
