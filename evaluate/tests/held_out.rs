//! Training's reports on held-out rows, and on the saved SAE.

use std::path::Path;

use hayloft_evaluate::{RunSettings, finetune};
use hayloft_results::{HeldOutFigures, SaeResult};
use hayloft_rows::{OutlierNorm, ScaleChoice, SectionChoice};
use hayloft_runtime::Progress;
use hayloft_store::maintain::{Files, Selection, select};
use hayloft_store::{Cache, Section};
use hayloft_train::{Architecture, Course, Space, ThresholdSource, TrainSettings};
use serde_json::{Value, json};

use crate::support::bench::{Bench, STANDARD, WIDTH, architectures, evaluation, metadata, records, refused, trained};
use crate::support::tiny::{Tiny, sae};

#[test]
fn dead_latents_are_unknown_until_a_latent_may_be_one_and_those_that_never_fired_are_counted() {
    let bench = Bench::new();
    // The window is longer than the training.
    let summary = trained(&bench.settings("short", Architecture::TopK { k: 1, auxiliary: 1.0 }));
    let never_fired = summary.last.never_fired_fraction;
    assert_eq!(summary.last.dead_fraction, None);
    assert!(never_fired > 0.0 && never_fired < 1.0, "{never_fired}");
    let (out, count) = (bench.out("short"), (never_fired * WIDTH as f64).round());
    assert!(records(&out).iter().all(|record| record.dead_fraction.is_none()));
    assert!(std::fs::read_to_string(out.join("training.jsonl")).unwrap().contains("\"dead_fraction\":null"));
    assert_eq!(metadata(&out)["num_dead_features"], Value::Null);
    assert_eq!(metadata(&out)["hayloft"]["never_fired_features"], count);
    let printed = summary.to_string();
    let words = format!(
        "latents: {count} of 48 ({:.2}%) never fired on training tokens; dead (silent for over 1000 steps): unknown, as the training had 60",
        100.0 * never_fired
    );
    assert!(printed.contains(&words), "{printed}");
    // The window is shorter.
    let mut settings = bench.settings("long", Architecture::TopK { k: 1, auxiliary: 0.0 });
    settings.course.dead_after = 20;
    let summary = trained(&settings);
    let out = bench.out("long");
    let dead = summary.last.dead_fraction.unwrap();
    assert!(dead >= summary.last.never_fired_fraction && dead > 0.0, "{:?}", summary.last);
    assert!(records(&out).iter().all(|record| record.dead_fraction.is_some() == (record.step > 20)));
    assert_eq!(metadata(&out)["num_dead_features"], (dead * WIDTH as f64).round());
}

/// The result of `evaluate run` without a model for an SAE on the last sequences of a cache.
fn evaluated(bench: &Bench, sae: &Path, sequences: &str, course: &Course, scale: ScaleChoice) -> SaeResult {
    let held = sae.with_extension("held");
    let selection = Selection { sequences: Some(sequences.parse().unwrap()), ..Selection::default() };
    select(&bench.tiny.cache(), &held, &selection, Files::default(), &mut |_| {}).unwrap();
    let settings = RunSettings {
        model: None,
        sections: course.sections.clone(),
        outlier_norm: course.outlier_norm,
        scale,
        ..RunSettings::new("", held, vec![sae.to_path_buf()])
    };
    hayloft_evaluate::run(&settings, Progress::Silent).unwrap().results.remove(0)
}

fn assert_same(name: &str, figures: &HeldOutFigures, found: &SaeResult) {
    let columns = &found.columns;
    assert_eq!((figures.rows, figures.l0), (columns.activation_rows, columns.l0), "{name}");
    for (got, expected) in [
        (figures.explained_variance, columns.explained_variance),
        (figures.explained_variance_pooled, columns.explained_variance_pooled),
        (Some(figures.dead_fraction), found.latents.dead.map(|dead| dead as f64 / WIDTH as f64)),
    ] {
        let (got, expected) = (got.unwrap(), expected.unwrap());
        assert!((got - expected).abs() <= 1e-6 * expected.abs(), "{name}: {got} {expected}");
    }
}

#[test]
fn held_out_figures_are_those_of_an_evaluation_of_the_same_sequences() {
    let bench = Bench::new();
    let scale = Cache::open(bench.tiny.cache()).unwrap().manifest().sites[0].scale();
    for (number, architecture) in architectures().into_iter().enumerate() {
        for space in [Space::Raw, Space::Scaled] {
            let name = format!("{}-{number}-{space:?}", architecture.as_str());
            let mut settings = TrainSettings { space, ..bench.settings(&name, architecture) };
            settings.course = Course { held_out: 20, held_out_every: 25, scale: ScaleChoice::Auto, ..settings.course };
            let summary = trained(&settings);
            let held_out = summary.held_out.clone().unwrap();
            assert_eq!((held_out.sequences.as_str(), held_out.count, held_out.rows, summary.rows), ("4..", 2, 20, 50));
            let figures = summary.last.held_out.unwrap();
            let scale = if space == Space::Raw { ScaleChoice::None } else { ScaleChoice::Given(scale) };
            assert_same(&name, &figures, &evaluated(&bench, &bench.out(&name), "4..", &settings.course, scale));
            let records = records(&bench.out(&name));
            let looked: Vec<u64> =
                records.iter().filter(|record| record.held_out.is_some()).map(|own| own.step).collect();
            assert_eq!(looked, [25, 50, 60]);
            assert_eq!(records.last(), Some(&summary.last));
            let metadata = metadata(&bench.out(&name));
            assert_eq!((&metadata["l0"], &metadata["hayloft"]["l0_rows"]), (&json!(figures.l0), &json!("held_out")));
            assert_eq!(metadata["hayloft"]["held_out"]["sequences"], "4..");
            let printed = summary.to_string();
            assert!(printed.contains("held out, sequences 4.., 20 rows: L0"), "{printed}");
        }
    }
}

#[test]
fn held_out_rows_are_of_the_same_sections_and_without_outliers() {
    let bench = Bench::new();
    let mut settings = bench.settings("filtered", Architecture::TopK { k: 4, auxiliary: 1.0 });
    let mean_norm = Cache::open(bench.tiny.cache()).unwrap().manifest().sites[0].mean_norm;
    settings.course = Course {
        batch: 4,
        held_out: 8,
        sections: vec![SectionChoice::Only(Section::Rollout)],
        outlier_norm: Some(OutlierNorm::Scaled(1.02 * mean_norm)),
        ..settings.course
    };
    let summary = trained(&settings);
    let held_out = summary.held_out.unwrap();
    assert!(held_out.rows >= 8 && held_out.rows < 20, "{held_out:?}");
    let found = evaluated(&bench, &bench.out("filtered"), &held_out.sequences, &settings.course, ScaleChoice::None);
    assert!(found.columns.outlier_rows > 0);
    assert_same("filtered", &summary.last.held_out.unwrap(), &found);
}

#[test]
fn held_out_rows_change_no_weight() {
    let plain = Bench::new();
    let spoilt = Bench::of(Tiny::with(None, |sequence, residual| {
        if sequence >= 4 {
            let _ = residual.shallow_clone().fill_(1000.0);
        }
    }));
    let weights = |bench: &Bench, held_out| {
        let name = format!("out-{held_out}");
        let mut settings = bench.settings(&name, STANDARD);
        settings.course.held_out = held_out;
        let rows = trained(&settings).rows;
        assert_eq!(rows, if held_out == 0 { 70 } else { 50 });
        std::fs::read(bench.out(&name).join("sae_weights.safetensors")).unwrap()
    };
    assert!(weights(&plain, 20) == weights(&spoilt, 20));
    assert!(weights(&plain, 0) != weights(&spoilt, 0), "the corrupted rows matter if they are not held out");
}

#[test]
fn held_out_rows_that_are_too_many_or_too_few_are_refused() {
    let bench = Bench::new();
    let refused = |change: &dyn Fn(&mut Course)| {
        let mut settings = bench.settings("refused", STANDARD);
        change(&mut settings.course);
        refused(&settings).to_string()
    };
    let message = refused(&|course| course.held_out = 55);
    assert!(message.contains("at most 54") && message.contains("got 55"), "{message}");
    // Whole sequences: 54 rows are available only with two more, and 14 do not fill a batch.
    let message = refused(&|course| course.held_out = 54);
    assert!(message.contains("got 54, which the sequences 1.. hold with 56"), "{message}");
    assert!(refused(&|course| course.held_out = 71).contains("got 71"));
    assert!(refused(&|course| course.held_out = 1).contains("at least 2"));
    assert!(refused(&|course| course.held_out_every = 0).contains("above zero"));
    assert!(refused(&|course| course.threshold = ThresholdSource::HeldOut).contains("--held-out ROWS"));
    let message = refused(&|course| (course.threshold, course.held_out) = (ThresholdSource::HeldOut, 20));
    assert!(message.contains("expected batchtopk"), "{message}");
    assert!(!bench.out("refused").exists());
}

/// Sixty steps bring the running mean less than half of the way.
#[test]
fn a_threshold_that_has_not_converged_shows_and_one_from_held_out_rows_fits() {
    let bench = Bench::new();
    let k = 6.5;
    for (number, space) in [Space::Raw, Space::Scaled].into_iter().enumerate() {
        let trained = |name: &str, threshold| {
            let architecture = Architecture::BatchTopK { k, auxiliary: 1.0 };
            let mut settings = TrainSettings { space, ..bench.settings(&format!("{name}-{number}"), architecture) };
            let scale = ScaleChoice::Auto;
            settings.course = Course { held_out: 20, threshold, scale, held_out_every: 30, ..settings.course };
            (trained(&settings), bench.out(&format!("{name}-{number}")))
        };
        let (behind, out) = trained("running", ThresholdSource::Running);
        assert!((behind.last.l0 - k).abs() < 0.1, "the trained SAE: {}", behind.last.l0);
        let (saved, held_out) = (behind.saved_on_last_batch.l0.unwrap(), behind.last.held_out.unwrap().l0.unwrap());
        assert!(saved > 1.2 * k && held_out > 1.2 * k, "the saved SAE: {saved} {held_out}");
        assert!(behind.to_string().contains(&format!("saved SAE on the last batch: L0 {saved:.2}")), "{behind}");
        assert_eq!(metadata(&out)["l0"], held_out);
        let about = &metadata(&out)["hayloft"]["threshold"];
        assert_eq!((about["source"].as_str(), &about["value"]), (Some("running"), &about["running"]));

        let (fits, out) = trained("held-out", ThresholdSource::HeldOut);
        for record in records(&out).iter().filter_map(|record| record.held_out) {
            // To the nearest whole number of latents on 20 rows.
            assert!((record.l0.unwrap() - k).abs() <= 0.5 / 20.0 + 1e-9, "{record:?}");
        }
        assert_eq!(fits.last.held_out.unwrap().l0, Some(6.5));
        let about = &metadata(&out)["hayloft"]["threshold"];
        assert_eq!(about["source"].as_str(), Some("held_out"));
        assert!(about["value"].as_f64().unwrap() > about["running"].as_f64().unwrap(), "{about}");
        let scale = Cache::open(bench.tiny.cache()).unwrap().manifest().sites[0].scale();
        let scale = if space == Space::Raw { ScaleChoice::None } else { ScaleChoice::Given(scale) };
        let course = Course::new("", "", 0);
        assert_same("held-out", &fits.last.held_out.unwrap(), &evaluated(&bench, &out, "4..", &course, scale));
    }
}

#[test]
fn fine_tuning_holds_out_too() {
    let bench = Bench::new();
    let mut settings = bench.finetuning("tuned", sae());
    settings.course.held_out = 20;
    let training = finetune(&settings, &evaluation(), Progress::Silent).unwrap().training;
    let found = evaluated(&bench, &bench.out("tuned"), "4..", &settings.course, ScaleChoice::None);
    let figures = training.last.held_out.unwrap();
    assert_eq!(figures.l0, found.columns.l0);
    let (got, expected) = (figures.explained_variance.unwrap(), found.columns.explained_variance.unwrap());
    assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    assert_eq!(metadata(&bench.out("tuned"))["l0"], figures.l0.unwrap());
}
