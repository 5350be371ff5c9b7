//! Training and fine-tuning on a small cache.

use std::path::{Path, PathBuf};

use hayloft_evaluate::train::{
    Architecture, Coefficients, Course, Evaluation, Existing, FinetuneSettings, HeldOutFigures, Penalty, Space,
    ThresholdSource, TrainError, TrainSettings, TrainingRecord, TrainingSummary, finetune, train,
};
use hayloft_evaluate::{
    EvaluateError, Normalisation, OutlierNorm, RunSettings, Sae, SaeFile, SaeResult, ScaleChoice, SectionChoice,
};
use hayloft_store::care::{Files, Selection, select};
use hayloft_store::{Cache, Section};
use hayloft_terminal::Progress;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::support::distance;
use crate::support::tiny::{SITE, Tiny, model, sae};

const WIDTH: usize = 48;

struct Bench {
    tiny: Tiny,
    scratch: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { tiny: Tiny::new(), scratch: tempfile::tempdir().unwrap() }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn course(&self, name: &str, tokens: u64) -> Course {
        Course {
            batch: 16,
            learning_rate: 1e-2,
            mix_rows: 40,
            ..Course::new(self.tiny.cache(), self.out(name), tokens)
        }
    }

    fn settings(&self, name: &str, architecture: Architecture) -> TrainSettings {
        TrainSettings::new(self.course(name, 16 * 60), SITE.parse().unwrap(), architecture, WIDTH)
    }

    fn finetuning(&self, name: &str, sae: PathBuf) -> FinetuneSettings {
        FinetuneSettings {
            course: Course { learning_rate: 1e-3, ..self.course(name, 16 * 100) },
            sae,
            site: None,
            coefficients: Coefficients { l1: Some(0.05), ..Coefficients::default() },
            evaluation: Evaluation { model: model(), cache: None, precision: None },
        }
    }
}

const STANDARD: Architecture = Architecture::Standard { l1: 0.05 };

fn architectures() -> Vec<Architecture> {
    let jumprelu = |penalty| Architecture::JumpRelu { l0: 0.05, penalty, bandwidth: 0.05, initial_threshold: 0.01 };
    vec![
        STANDARD,
        Architecture::TopK { k: 6, auxiliary: 1.0 },
        Architecture::BatchTopK { k: 6.5, auxiliary: 1.0 },
        jumprelu(Penalty::L0),
        jumprelu(Penalty::Tanh { scale: 4.0 }),
        Architecture::Gated { l1: 0.05 },
    ]
}

fn run(settings: &TrainSettings) -> TrainingSummary {
    train(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"))
}

fn refuse(settings: &TrainSettings) -> TrainError {
    train(settings, Progress::Silent).unwrap_err()
}

/// What an error that is also an evaluation's is about.
fn misfit(error: TrainError) -> EvaluateError {
    match error {
        TrainError::Evaluate(error) => *error,
        other => panic!("{other}"),
    }
}

fn records(out: &Path) -> Vec<TrainingRecord> {
    let text = std::fs::read_to_string(out.join("training.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every activation of the cache, `[70, 32]`.
fn rows(cache: &Path) -> Tensor {
    let cache = Cache::open(cache).unwrap();
    let mut all = Vec::new();
    for place in 0..cache.shards() {
        let reader = cache.shard(place).unwrap().activations(&SITE.parse().unwrap()).unwrap();
        for row_group in 0..reader.row_groups() {
            let mut bytes = Vec::new();
            reader.read(row_group, &mut bytes).unwrap();
            all.push(Tensor::from_data_size(&bytes, &[reader.rows(row_group) as i64, 32], Kind::Float));
        }
    }
    Tensor::cat(&all, 0)
}

#[test]
fn every_architecture_learns_and_is_saved_as_saelens_saves_it() {
    let bench = Bench::new();
    for (number, architecture) in architectures().into_iter().enumerate() {
        let name = format!("{}-{number}", architecture.as_str());
        let summary = run(&bench.settings(&name, architecture));
        let out = bench.out(&name);
        let records = records(&out);
        let (first, last) = (records[0], summary.last);
        assert!(last.reconstruction_loss < 0.7 * first.reconstruction_loss, "{name}: {first:?} {last:?}");
        assert_eq!((last.step, last.tokens, records.len()), (60, 960, 6));
        assert_eq!(records.last(), Some(&last));
        let file = SaeFile::open(&out).unwrap();
        let saved = if architecture.as_str() == "batchtopk" { "jumprelu" } else { architecture.as_str() };
        assert_eq!((file.architecture(), file.width(), file.site()), (saved, WIDTH, Some(SITE)));
        assert_eq!(file.normalisation(), Normalisation::None);
        let fired = Sae::open(&out, Device::Cpu).unwrap().reconstruct(&rows(&bench.tiny.cache())).unwrap().fired;
        assert!(fired.max().int64_value(&[]) > 0, "{name}");
        assert!(!out.join("checkpoint").exists(), "a training that is done needs none");
    }
}

#[test]
fn a_folded_scale_gives_what_a_kept_one_gives() {
    let bench = Bench::new();
    let cache = bench.tiny.cache();
    let x = rows(&cache);
    let scale = Cache::open(&cache).unwrap().manifest().sites[0].scale();
    for (number, architecture) in architectures().into_iter().enumerate() {
        let train_in = |space, name: &str| {
            let mut settings = TrainSettings { space, ..bench.settings(&format!("{name}-{number}"), architecture) };
            settings.course.scale = ScaleChoice::Auto;
            run(&settings);
            Sae::open(&settings.course.out, Device::Cpu).unwrap()
        };
        let (raw, scaled) = (train_in(Space::Raw, "raw"), train_in(Space::Scaled, "scaled"));
        assert_eq!(raw.normalisation(), Normalisation::None);
        assert_eq!(scaled.normalisation(), Normalisation::ExpectedAverageOnlyIn);
        let (raw, scaled) = (raw.reconstruct(&x).unwrap(), scaled.reconstruct(&(&x * scale)).unwrap());
        let far = distance(&raw.rows, &(scaled.rows / scale));
        assert!(far < 1e-5, "{}: {far:e}", architecture.as_str());
        assert_eq!(raw.fired, scaled.fired);
    }
    let mut settings = TrainSettings { space: Space::Scaled, ..bench.settings("none", STANDARD) };
    settings.course.scale = ScaleChoice::None;
    assert!(refuse(&settings).to_string().contains("--scale auto"));
}

#[test]
fn sections_and_outliers_decide_what_is_drawn() {
    let bench = Bench::new();
    let all = run(&bench.settings("all", STANDARD)).rows;
    let mut settings = bench.settings("sections", STANDARD);
    settings.course.sections = vec![SectionChoice::Only(Section::Rollout), SectionChoice::Only(Section::Control)];
    let some = run(&settings).rows;
    let mut settings = bench.settings("outliers", STANDARD);
    settings.course.outlier_norm = Some(Cache::open(&bench.tiny.cache()).unwrap().manifest().sites[0].mean_norm.into());
    let near = run(&settings).rows;
    assert_eq!(all, 70);
    assert!((16..70).contains(&some) && (16..70).contains(&near), "{some} {near}");
}

#[test]
fn the_same_settings_give_the_same_bytes_and_another_seed_others() {
    let bench = Bench::new();
    let weights = |name: &str, seed| {
        let mut settings = bench.settings(name, STANDARD);
        settings.course.seed = seed;
        run(&settings);
        std::fs::read(bench.out(name).join("sae_weights.safetensors")).unwrap()
    };
    let first = weights("first", 1);
    assert!(first == weights("again", 1) && first != weights("other", 2));
}

#[test]
fn a_finished_training_is_resumed_to_what_it_came_to() {
    let bench = Bench::new();
    let mut settings = bench.settings("done", STANDARD);
    let summary = run(&settings);
    assert!(matches!(refuse(&settings), TrainError::OutExists { .. }));
    settings.course.existing = Existing::Resume;
    assert_eq!(run(&settings), summary);
    settings.course.learning_rate = 2e-2;
    let message = refuse(&settings).to_string();
    assert!(message.contains("learning_rate") && message.contains("0.01") && message.contains("0.02"), "{message}");
    let settings = TrainSettings { architecture: Architecture::Standard { l1: 1.0 }, ..settings };
    assert!(refuse(&settings).to_string().contains("architecture"));
}

#[test]
fn a_loss_that_is_no_number_stops_and_leaves_the_last_good_checkpoint() {
    let bench = Bench::new();
    let mut settings = bench.settings("wild", STANDARD);
    settings.course.learning_rate = 1e15;
    settings.course.checkpoint_every = 1;
    let error = refuse(&settings);
    let message = error.to_string();
    let TrainError::Diverged { step, checkpoint: Some(checkpoint), .. } = error else { panic!("{message}") };
    assert!(step > 1 && message.contains("last good checkpoint") && message.contains("--learning-rate"), "{message}");
    SaeFile::open(&checkpoint).unwrap().load(Device::Cpu).unwrap();
    assert!(!bench.out("wild").join("sae_weights.safetensors").exists(), "what diverged is not saved");
    settings.course.out = bench.out("wild without");
    settings.course.checkpoint_every = 1000;
    assert!(refuse(&settings).to_string().contains("no checkpoint yet"));
}

#[test]
fn too_few_tokens_are_refused() {
    let bench = Bench::new();
    let mut settings = bench.settings("few", STANDARD);
    settings.course.tokens = 15;
    let message = refuse(&settings).to_string();
    assert!(message.contains("one batch of 16") && message.contains("got 15"), "{message}");
    settings.course.batch = 71;
    settings.course.tokens = 710;
    let message = refuse(&settings).to_string();
    assert!(message.contains("at least 71") && message.contains("70 of 70"), "{message}");
}

#[test]
fn another_site_and_an_empty_section_are_refused() {
    let bench = Bench::new();
    let settings = TrainSettings { site: "blocks.0.hook_resid_pre".parse().unwrap(), ..bench.settings("a", STANDARD) };
    assert!(matches!(misfit(refuse(&settings)), EvaluateError::SiteNotHeld { .. }));
    let mut settings = bench.settings("b", STANDARD);
    settings.course.sections = vec![SectionChoice::Only(Section::Text)];
    assert!(matches!(misfit(refuse(&settings)), EvaluateError::EmptySection { .. }));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let changed = |change: &dyn Fn(&mut TrainSettings)| {
        let mut settings = bench.settings("senseless", STANDARD);
        change(&mut settings);
        refuse(&settings).to_string()
    };
    assert!(changed(&|settings| settings.course.learning_rate = 0.0).contains("learning rate"));
    assert!(changed(&|settings| settings.course.warm_up = 61).contains("warm-up and decay"));
    assert!(changed(&|settings| settings.course.outlier_norm = Some(f64::NAN.into())).contains("outlier norm"));
    assert!(changed(&|settings| settings.course.mix_rows = 0).contains("rows to mix"));
    assert!(changed(&|settings| settings.width = 0).contains("width"));
    let with = |architecture| changed(&|settings| settings.architecture = architecture);
    assert!(with(Architecture::Standard { l1: f64::NAN }).contains("l1"));
    assert!(with(Architecture::TopK { k: WIDTH + 1, auxiliary: 1.0 }).contains("width, 48"));
    assert!(with(Architecture::BatchTopK { k: 0.0, auxiliary: 1.0 }).contains("above zero"));
}

#[test]
fn fine_tuning_brings_an_sae_nearer_and_says_so() {
    let bench = Bench::new();
    let finetuned = finetune(&bench.finetuning("tuned", sae()), Progress::Silent).unwrap();
    let results = &finetuned.results.results;
    assert_eq!(results.iter().map(|result| result.sae.as_str()).collect::<Vec<_>>(), ["before", "after"]);
    let explained = |place: usize| results[place].columns.explained_variance.unwrap();
    assert!(explained(1) > explained(0), "{} {}", explained(0), explained(1));
    let out = bench.out("tuned");
    for name in ["cfg.json", "results.json", "training.json", "training.jsonl"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let (before, after) = (SaeFile::open(&sae()).unwrap(), SaeFile::open(&out).unwrap());
    assert_eq!((after.architecture(), after.width()), (before.architecture(), before.width()));
}

#[test]
fn an_sae_of_another_width_or_site_is_not_fine_tuned() {
    let bench = Bench::new();
    let fixtures = crate::support::sae_fixtures();
    let refuse = |settings: &FinetuneSettings| finetune(settings, Progress::Silent).unwrap_err();
    let error = refuse(&bench.finetuning("width", fixtures.join("standard-none")));
    assert!(matches!(misfit(error), EvaluateError::SaeWidth { expected: 32, got: 16, .. }));
    let mut settings = bench.finetuning("site", sae());
    settings.site = Some("blocks.0.hook_resid_pre".parse().unwrap());
    let error = refuse(&settings);
    assert!(matches!(misfit(error), EvaluateError::SaeSite { .. }));
    let mut settings = bench.finetuning("coefficient", sae());
    settings.coefficients = Coefficients::default();
    let message = refuse(&settings).to_string();
    assert!(message.contains("l1: expected a coefficient"), "{message}");
    assert!(!bench.out("coefficient").exists());
}

/// The metadata of a saved SAE.
fn metadata(out: &Path) -> Value {
    let config: Value = serde_json::from_slice(&std::fs::read(out.join("cfg.json")).unwrap()).unwrap();
    config["metadata"].clone()
}

#[test]
fn dead_latents_are_unknown_until_a_latent_may_be_one_and_those_that_never_fired_are_counted() {
    let bench = Bench::new();
    // The window is longer than the training.
    let summary = run(&bench.settings("short", Architecture::TopK { k: 1, auxiliary: 1.0 }));
    let never_fired = summary.last.never_fired_fraction.unwrap();
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
    // It is shorter.
    let mut settings = bench.settings("long", Architecture::TopK { k: 1, auxiliary: 0.0 });
    settings.course.dead_after = 20;
    let summary = run(&settings);
    let out = bench.out("long");
    let dead = summary.last.dead_fraction.unwrap();
    assert!(dead >= summary.last.never_fired_fraction.unwrap() && dead > 0.0, "{:?}", summary.last);
    assert!(records(&out).iter().all(|record| record.dead_fraction.is_some() == (record.step > 20)));
    assert_eq!(metadata(&out)["num_dead_features"], (dead * WIDTH as f64).round());
}

/// What `evaluate run` without a model finds of an SAE on the last sequences of a cache.
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
    let scale = Cache::open(&bench.tiny.cache()).unwrap().manifest().sites[0].scale();
    for (number, architecture) in architectures().into_iter().enumerate() {
        for space in [Space::Raw, Space::Scaled] {
            let name = format!("{}-{number}-{space:?}", architecture.as_str());
            let mut settings = TrainSettings { space, ..bench.settings(&name, architecture) };
            settings.course = Course { held_out: 20, held_out_every: 25, scale: ScaleChoice::Auto, ..settings.course };
            let summary = run(&settings);
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
    let mean_norm = Cache::open(&bench.tiny.cache()).unwrap().manifest().sites[0].mean_norm;
    settings.course = Course {
        batch: 4,
        held_out: 8,
        sections: vec![SectionChoice::Only(Section::Rollout)],
        outlier_norm: Some(OutlierNorm::Scaled(1.02 * mean_norm)),
        ..settings.course
    };
    let summary = run(&settings);
    let held_out = summary.held_out.unwrap();
    assert!(held_out.rows >= 8 && held_out.rows < 20, "{held_out:?}");
    let found = evaluated(&bench, &bench.out("filtered"), &held_out.sequences, &settings.course, ScaleChoice::None);
    assert!(found.columns.outlier_rows > 0);
    assert_same("filtered", &summary.last.held_out.unwrap(), &found);
}

#[test]
fn what_is_held_out_touches_no_weight() {
    let plain = Bench::new();
    let spoilt = Bench {
        tiny: Tiny::with(None, |sequence, residual| {
            if sequence >= 4 {
                let _ = residual.shallow_clone().fill_(1000.0);
            }
        }),
        scratch: tempfile::tempdir().unwrap(),
    };
    let weights = |bench: &Bench, held_out| {
        let name = format!("out-{held_out}");
        let mut settings = bench.settings(&name, STANDARD);
        settings.course.held_out = held_out;
        let rows = run(&settings).rows;
        assert_eq!(rows, if held_out == 0 { 70 } else { 50 });
        std::fs::read(bench.out(&name).join("sae_weights.safetensors")).unwrap()
    };
    assert!(weights(&plain, 20) == weights(&spoilt, 20));
    assert!(weights(&plain, 0) != weights(&spoilt, 0), "what is spoilt is seen where it is not held out");
}

#[test]
fn held_out_rows_that_are_too_many_or_too_few_are_refused() {
    let bench = Bench::new();
    let refused = |change: &dyn Fn(&mut Course)| {
        let mut settings = bench.settings("refused", STANDARD);
        change(&mut settings.course);
        refuse(&settings).to_string()
    };
    let message = refused(&|course| course.held_out = 55);
    assert!(message.contains("at most 54") && message.contains("got 55"), "{message}");
    // Whole sequences: 54 rows are to be had only with two more, and 14 do not fill a batch.
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

/// Sixty steps bring the running mean not even half of the way.
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
            (run(&settings), bench.out(&format!("{name}-{number}")))
        };
        let (behind, out) = trained("running", ThresholdSource::Running);
        assert!((behind.last.l0 - k).abs() < 0.1, "what is trained: {}", behind.last.l0);
        let (saved, held_out) = (behind.saved_on_last_batch.l0.unwrap(), behind.last.held_out.unwrap().l0.unwrap());
        assert!(saved > 1.2 * k && held_out > 1.2 * k, "what is saved: {saved} {held_out}");
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
        let scale = Cache::open(&bench.tiny.cache()).unwrap().manifest().sites[0].scale();
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
    let training = finetune(&settings, Progress::Silent).unwrap().training;
    let found = evaluated(&bench, &bench.out("tuned"), "4..", &settings.course, ScaleChoice::None);
    let figures = training.last.held_out.unwrap();
    assert_eq!(figures.l0, found.columns.l0);
    let (got, expected) = (figures.explained_variance.unwrap(), found.columns.explained_variance.unwrap());
    assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    assert_eq!(metadata(&bench.out("tuned"))["l0"], figures.l0.unwrap());
}

#[test]
fn a_saved_sae_says_of_bos_what_its_cache_had() {
    let prepend_bos = |tiny: Tiny| {
        let bench = Bench { tiny, scratch: tempfile::tempdir().unwrap() };
        run(&bench.settings("sae", STANDARD));
        SaeFile::open(&bench.out("sae")).unwrap().conventions().prepend_bos
    };
    assert_eq!(prepend_bos(Tiny::new()), Some(true));
    let without = |sequence: i64| (0..12).map(|position| (7 * sequence + 5 * position) % 300 + 2).collect();
    assert_eq!(prepend_bos(Tiny::of((0..4).map(without).collect())), Some(false));
}
