//! Training and fine-tuning on a small cache.

use std::path::Path;

use hayloft_evaluate::{EvaluateError, finetune};
use hayloft_rows::{RowsError, ScaleChoice, SectionChoice};
use hayloft_runtime::Progress;
use hayloft_sae::{Normalisation, SaeFile};
use hayloft_store::{Cache, Section};
use hayloft_train::{
    Architecture, Coefficients, Existing, FinetuneSettings, SiteError, Space, TrainError, TrainSettings,
};
use tch::{Device, Kind, Tensor};

use crate::support::bench::{Bench, STANDARD, WIDTH, architectures, evaluation, records, refused, trained};
use crate::support::distance;
use crate::support::tiny::{SITE, Tiny, sae};

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
        let summary = trained(&bench.settings(&name, architecture));
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
        let fired = SaeFile::open(&out)
            .and_then(|file| file.load(Device::Cpu))
            .unwrap()
            .reconstruct(&rows(&bench.tiny.cache()))
            .unwrap()
            .fired;
        assert!(fired.max().int64_value(&[]) > 0, "{name}");
        assert!(!out.join("checkpoint").exists(), "a finished training needs none");
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
            trained(&settings);
            SaeFile::open(&settings.course.out).and_then(|file| file.load(Device::Cpu)).unwrap()
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
    assert!(refused(&settings).to_string().contains("--scale auto"));
}

#[test]
fn sections_and_outliers_decide_what_is_drawn() {
    let bench = Bench::new();
    let all = trained(&bench.settings("all", STANDARD)).rows;
    let mut settings = bench.settings("sections", STANDARD);
    settings.course.sections = vec![SectionChoice::Only(Section::Rollout), SectionChoice::Only(Section::Control)];
    let some = trained(&settings).rows;
    let mut settings = bench.settings("outliers", STANDARD);
    settings.course.outlier_norm = Some(Cache::open(bench.tiny.cache()).unwrap().manifest().sites[0].mean_norm.into());
    let near = trained(&settings).rows;
    assert_eq!(all, 70);
    assert!((16..70).contains(&some) && (16..70).contains(&near), "{some} {near}");
}

#[test]
fn the_same_settings_give_the_same_bytes_and_another_seed_others() {
    let bench = Bench::new();
    let weights = |name: &str, seed| {
        let mut settings = bench.settings(name, STANDARD);
        settings.course.seed = seed;
        trained(&settings);
        std::fs::read(bench.out(name).join("sae_weights.safetensors")).unwrap()
    };
    let first = weights("first", 1);
    assert!(first == weights("again", 1) && first != weights("other", 2));
}

#[test]
fn a_finished_training_is_resumed_to_what_it_came_to() {
    let bench = Bench::new();
    let mut settings = bench.settings("done", STANDARD);
    let summary = trained(&settings);
    assert!(matches!(refused(&settings), TrainError::OutExists { .. }));
    settings.course.existing = Existing::Resume;
    assert_eq!(trained(&settings), summary);
    settings.course.learning_rate = 2e-2;
    let message = refused(&settings).to_string();
    assert!(message.contains("learning_rate") && message.contains("0.01") && message.contains("0.02"), "{message}");
    let settings = TrainSettings { architecture: Architecture::Standard { l1: 1.0 }, ..settings };
    assert!(refused(&settings).to_string().contains("architecture"));
}

#[test]
fn a_loss_that_is_not_finite_stops_and_leaves_the_last_good_checkpoint() {
    let bench = Bench::new();
    let mut settings = bench.settings("wild", STANDARD);
    settings.course.learning_rate = 1e15;
    settings.course.checkpoint_every = 1;
    let error = refused(&settings);
    let message = error.to_string();
    let TrainError::Diverged { step, checkpoint: Some(checkpoint), .. } = error else { panic!("{message}") };
    assert!(step > 1 && message.contains("last good checkpoint") && message.contains("--learning-rate"), "{message}");
    SaeFile::open(&checkpoint).unwrap().load(Device::Cpu).unwrap();
    assert!(!bench.out("wild").join("sae_weights.safetensors").exists(), "a diverged SAE is not saved");
    settings.course.out = bench.out("wild without");
    settings.course.checkpoint_every = 1000;
    assert!(refused(&settings).to_string().contains("no checkpoint yet"));
}

#[test]
fn too_few_tokens_are_refused() {
    let bench = Bench::new();
    let mut settings = bench.settings("few", STANDARD);
    settings.course.tokens = 15;
    let message = refused(&settings).to_string();
    assert!(message.contains("one batch of 16") && message.contains("got 15"), "{message}");
    settings.course.batch = 71;
    settings.course.tokens = 710;
    let message = refused(&settings).to_string();
    assert!(message.contains("at least 71") && message.contains("70 of 70"), "{message}");
}

#[test]
fn another_site_and_an_empty_section_are_refused() {
    let bench = Bench::new();
    let settings = TrainSettings { site: "blocks.0.hook_resid_pre".parse().unwrap(), ..bench.settings("a", STANDARD) };
    assert!(matches!(refused(&settings), TrainError::Site(SiteError::SiteNotHeld { .. })));
    let mut settings = bench.settings("b", STANDARD);
    settings.course.sections = vec![SectionChoice::Only(Section::Text)];
    assert!(matches!(refused(&settings), TrainError::Rows(RowsError::EmptySection { .. })));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let changed = |change: &dyn Fn(&mut TrainSettings)| {
        let mut settings = bench.settings("senseless", STANDARD);
        change(&mut settings);
        refused(&settings).to_string()
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
fn fine_tuning_improves_an_sae_and_reports_it() {
    let bench = Bench::new();
    let finetuned = finetune(&bench.finetuning("tuned", sae()), &evaluation(), Progress::Silent).unwrap();
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
    let refuse = |settings: &FinetuneSettings| finetune(settings, &evaluation(), Progress::Silent).unwrap_err();
    let error = refuse(&bench.finetuning("width", fixtures.join("standard-none")));
    assert!(matches!(error, EvaluateError::Site(SiteError::SaeWidth { expected: 32, got: 16, .. })));
    let mut settings = bench.finetuning("site", sae());
    settings.site = Some("blocks.0.hook_resid_pre".parse().unwrap());
    let error = refuse(&settings);
    assert!(matches!(error, EvaluateError::Site(SiteError::SaeSite { .. })));
    let mut settings = bench.finetuning("coefficient", sae());
    settings.coefficients = Coefficients::default();
    let message = refuse(&settings).to_string();
    assert!(message.contains("l1: expected a coefficient"), "{message}");
    assert!(!bench.out("coefficient").exists());
}

#[test]
fn a_saved_sae_records_whether_its_cache_has_bos() {
    let prepend_bos = |tiny: Tiny| {
        let bench = Bench::of(tiny);
        trained(&bench.settings("sae", STANDARD));
        SaeFile::open(&bench.out("sae")).unwrap().conventions().prepend_bos
    };
    assert_eq!(prepend_bos(Tiny::new()), Some(true));
    let without = |sequence: i64| (0..12).map(|position| (7 * sequence + 5 * position) % 300 + 2).collect();
    assert_eq!(prepend_bos(Tiny::of((0..4).map(without).collect())), Some(false));
}
