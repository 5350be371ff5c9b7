//! Attention sinks and outliers: which rows are excluded, by which norm, and what is reported. Through the program, on
//! a cache whose BOS rows are far longer than the others.

use std::path::{Path, PathBuf};

use hayloft_evaluate::{RunSettings, finetune, run};
use hayloft_report::Report;
use hayloft_results::SaeResult;
use hayloft_rows::{ExcludeChoice, OutlierNorm, ScaleChoice, ScaleSource, SectionChoice};
use hayloft_runtime::Progress;
use hayloft_sae::SaeFile;
use hayloft_store::{Cache, Section};
use hayloft_train::{
    Architecture, Coefficients, Course, Existing, FinetuneSettings, Space, TrainError, TrainSettings, train,
    training_origin,
};
use serde_json::Value;

use crate::support::bench::{Bench, evaluation, json};
use crate::support::tiny::{SITE, Tiny, model, sae};

/// A cache with sinks, to train on.
fn sinks() -> Bench {
    Bench::of(Tiny::with_sinks())
}

fn settings(bench: &Bench, name: &str) -> TrainSettings {
    TrainSettings {
        course: bench.course(name, 640),
        ..bench.settings(name, Architecture::TopK { k: 6, auxiliary: 1.0 })
    }
}

fn results(settings: &RunSettings) -> Vec<SaeResult> {
    run(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}")).results
}

/// The norms of the cache's rows, and whether each row is BOS.
fn norms(cache: &Path) -> Vec<(f32, bool)> {
    let cache = Cache::open(cache).unwrap();
    let mut all = Vec::new();
    for place in 0..cache.shards() {
        let shard = cache.shard(place).unwrap();
        let tokens = shard.tokens().unwrap().token;
        all.extend(
            shard.norms(&SITE.parse().unwrap()).unwrap().into_iter().zip(tokens.iter().map(|&token| token == 0)),
        );
    }
    all
}

/// The largest norm of a row other than BOS.
fn longest_but_bos(cache: &Path) -> f64 {
    norms(cache).into_iter().filter(|(_, bos)| !bos).map(|(norm, _)| f64::from(norm)).fold(0.0, f64::max)
}

/// `train --scale auto` folds the scale into the weights, and the same `--outlier-norm` is then another norm.
#[test]
fn a_threshold_that_a_folded_scale_changes_is_reported_and_nothing_is_recovered() {
    let bench = sinks();
    let said = bench.train("sae", "--architecture topk --k 6 --scale auto --exclude bos --outlier-norm 20");
    assert!(!said.contains("outliers"), "no row but BOS is longer than that: {said}");
    let rows = bench.config("sae")["metadata"]["hayloft"]["rows"].clone();
    let raw = rows["outlier_norm"]["raw"].as_f64().unwrap();
    assert_eq!((rows["exclude"].as_str(), rows["outlier_norm"]["rule"].as_str()), (Some("bos"), Some("20")));
    assert!(raw > 300.0, "{rows}");

    let (table, said) = bench.run("sae", "--outlier-norm 20 --by position --by subset --metrics all --bootstrap=100");
    println!("{said}{table}");
    assert!(!table.contains("100.00"), "{table}");
    let row: Vec<&str> =
        table.lines().find(|line| line.trim_start().starts_with("sae")).unwrap().split_whitespace().collect();
    // The losses of the clean run and of zero ablation; what is undefined is left out.
    assert!(row.len() == 3 && row[1..].iter().all(|cell| cell.parse::<f64>().is_ok()), "{table}");
    assert!(!table.contains("L0") && !table.contains("rec. %") && !table.contains("MSE"), "{table}");
    let same = format!("--outlier-norm {raw}raw leaves out what the training did");
    assert!(said.contains("none of 70 rows are kept: 70 are outliers") && said.contains("(median)"), "{said}");
    assert_eq!(said.matches(&same).count(), 2, "before the run, and as the cause of its result: {said}");

    // With the suggested flag there is no warning.
    let (table, said) = bench.run("sae", &format!("--outlier-norm {raw}raw"));
    assert!(!said.contains("WARN") && !table.contains('–'), "{said}{table}");
    let [result] = json_results(&bench.run("sae", &format!("--outlier-norm {raw}raw --json")).0);
    assert_eq!((result["outlier_rows"].as_u64(), result["activation_rows"].as_u64()), (Some(6), Some(64)));
    let [result] = json_results(&bench.run("sae", "--outlier-norm 20 --kl --by subset --json").0);
    for figure in ["l0", "explained_variance", "mse", "ce_sae", "ce_delta", "ce_recovered"] {
        assert!(result[figure].is_null() && result["subsets"][0][figure].is_null(), "{figure}: {result}");
    }
    assert!(result["kl"]["kl"].is_null() && result["latents"]["dead"].is_null(), "{result}");
    assert!(result["ce_clean"].is_f64() && result["ce_zero"].is_f64());
    assert_eq!((result["outlier_norm_raw"].as_f64(), result["outlier_rule"].as_str()), (Some(20.0), Some("20")));
}

/// A report of results without a figure has dashes, in its tables and in the numbers of its pictures.
#[test]
fn a_report_without_kept_rows_has_dashes() {
    let bench = sinks();
    let folder = bench.out("report");
    std::fs::create_dir_all(&folder).unwrap();
    let settings = RunSettings { outlier_norm: Some(20.0.into()), ..bench.evaluation(sae()) };
    let mut results = run(&settings, Progress::Silent).unwrap();
    results.results[0].sae = "base".to_owned();
    results.write(&folder).unwrap();
    let entry = "file = \"results.json\"\ndataset = \"chat\"\nmodel = \"chat\"\nfamily = \"tiny\"";
    std::fs::write(folder.join("experiment.toml"), format!("title = \"Nothing\"\n[[results]]\n{entry}\n")).unwrap();
    let report = Report::open(&folder.join("experiment.toml")).unwrap();
    assert!(!report.table(80).contains("100.00"), "{}", report.table(80));
    let row = &report.summary().rows[0];
    assert_eq!((row.columns.ce_recovered, row.columns.l0, row.outlier_norm_raw), (None, None, Some(20.0)));
    report.write(&folder.join("page")).unwrap();
    let page = std::fs::read_to_string(folder.join("page/report.html")).unwrap();
    assert!(page.contains("– of 64 latents are dead") || page.contains("–</td>"), "{page}");
}

fn json_results(text: &str) -> [Value; 1] {
    let results: Vec<Value> = serde_json::from_str(text).unwrap();
    results.try_into().unwrap()
}

#[test]
fn a_norm_in_either_space_leaves_out_the_same() {
    let bench = sinks();
    // A power of two, which scales norms without rounding.
    let scale = 0.125;
    let longest = longest_but_bos(&bench.tiny.cache());
    let norm = (0.6 * longest).round();
    let with = |text: &str| {
        let outlier_norm = Some(text.parse::<OutlierNorm>().unwrap());
        let settings = RunSettings { scale: ScaleChoice::Given(scale), outlier_norm, ..bench.evaluation(sae()) };
        results(&settings).remove(0)
    };
    let texts = [format!("{norm}raw"), (scale * norm).to_string()];
    let [raw, scaled] = texts.each_ref().map(|text| with(text));
    assert!(raw.columns.outlier_rows > 6 && raw.columns.activation_rows > 6, "{:?}", raw.columns);
    assert_eq!((raw.sums, raw.columns, raw.outlier_norm), (scaled.sums, scaled.columns, scaled.outlier_norm));
    assert_eq!((raw.outlier_norm_raw, scaled.outlier_norm_raw), (Some(norm), Some(norm)));
    assert_ne!(raw.outlier_rule, scaled.outlier_rule);

    let weights = |name: &str, text: &str| {
        let mut settings = settings(&bench, name);
        settings.course.scale = ScaleChoice::Given(scale);
        settings.course.outlier_norm = Some(text.parse().unwrap());
        let summary = train(&settings, Progress::Silent).unwrap();
        (std::fs::read(bench.out(name).join("sae_weights.safetensors")).unwrap(), summary.rows)
    };
    let (raw, scaled) = (weights("raw", &texts[0]), weights("scaled", &texts[1]));
    assert!(raw == scaled && raw.1 < 64, "{} {}", raw.1, scaled.1);
}

#[test]
fn rows_that_are_left_out_reach_no_batch() {
    let bench = sinks();
    let mut norms: Vec<f32> =
        norms(&bench.tiny.cache()).into_iter().filter(|(_, bos)| !bos).map(|(norm, _)| norm).collect();
    norms.sort_by(f32::total_cmp);
    let median = f64::from(norms[(norms.len() - 1) / 2]);
    let trained = |name: &str, exclude, norm: Option<&str>| {
        let mut settings = settings(&bench, name);
        settings.course.exclude = exclude;
        settings.course.outlier_norm = norm.map(|norm| norm.parse().unwrap());
        // The SAE stays at its initial weights, and the error of a batch is about its squared norm.
        (settings.course.learning_rate, settings.course.log_every) = (1e-12, 1);
        train(&settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"))
    };
    let all = trained("all", ExcludeChoice::None, None);
    let kept = trained("kept", ExcludeChoice::Bos, None);
    assert_eq!((all.rows, kept.rows), (70, 64));
    // One row of BOS in a batch makes its error a hundred times that of any other.
    let largest = |name: &str| {
        let text = std::fs::read_to_string(bench.out(name).join("training.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.map(|record| record["reconstruction_loss"].as_f64().unwrap()).fold(0.0, f64::max)
    };
    let longest = longest_but_bos(&bench.tiny.cache());
    assert!(largest("kept") < 4.0 * longest.powi(2), "{} {longest}", largest("kept"));
    assert!(largest("all") > 50.0 * longest.powi(2), "{} {longest}", largest("all"));
    // The median is that of the included rows, without BOS.
    let rule = trained("median", ExcludeChoice::Bos, Some("1.01xmedian"));
    let threshold = bench.config("median")["metadata"]["hayloft"]["rows"]["outlier_norm"].clone();
    assert_eq!(threshold["raw"].as_f64(), Some(1.01 * median), "{threshold}");
    let expected = norms.iter().filter(|norm| f64::from(**norm) <= 1.01 * median).count();
    assert!(rule.rows == expected && expected < 64, "{} {expected}", rule.rows);
    // Only a tokenizer knows the special tokens.
    let mut settings = settings(&bench, "special");
    settings.course.exclude = ExcludeChoice::Special;
    let message = train(&settings, Progress::Silent).unwrap_err().to_string();
    assert!(message.contains("--tokenizer") && message.contains("--exclude bos"), "{message}");
}

#[test]
fn a_training_is_resumed_only_with_the_rows_that_it_was_begun_with() {
    let bench = sinks();
    let mut settings = settings(&bench, "sae");
    settings.course.exclude = ExcludeChoice::Bos;
    settings.course.outlier_norm = Some("1.1xmedian".parse().unwrap());
    let summary = train(&settings, Progress::Silent).unwrap();
    settings.course.existing = Existing::Resume;
    assert_eq!(train(&settings, Progress::Silent).unwrap(), summary);
    let refuse = |change: &dyn Fn(&mut Course)| {
        let mut settings = settings.clone();
        change(&mut settings.course);
        let error = train(&settings, Progress::Silent).unwrap_err();
        assert!(matches!(error, TrainError::OtherSettings { .. }), "{error}");
        error.to_string()
    };
    assert!(refuse(&|course| course.exclude = ExcludeChoice::None).contains("exclude"));
    let message = refuse(&|course| course.outlier_norm = Some("1.2xmedian".parse().unwrap()));
    assert!(message.contains("outlier_norm") && message.contains("1.1xmedian"), "{message}");
}

#[test]
fn the_share_of_the_largest_rows_is_reported_before_the_first_step() {
    let bench = sinks();
    let share = |norms: &[(f32, bool)]| {
        let mut squares: Vec<f64> = norms.iter().map(|(norm, _)| f64::from(*norm).powi(2)).collect();
        squares.sort_by(|left, right| right.total_cmp(left));
        squares[..squares.len().div_ceil(100)].iter().sum::<f64>() / squares.iter().sum::<f64>()
    };
    let norms = norms(&bench.tiny.cache());
    let all = share(&norms);
    let kept = share(&norms.iter().copied().filter(|(_, bos)| !bos).collect::<Vec<_>>());
    // Six rows of BOS are alike, and one of them is a hundredth of the rows.
    assert!(all < 1.0 / 3.0, "{all}");
    let said = bench.train("all", "--architecture topk --k 6");
    assert!(
        said.contains(&format!("the largest 1 % of rows (1) hold {:.1} % of the squared norm", 100.0 * all)),
        "{said}"
    );
    let recorded = json(&bench.out("all").join("training.json"))["largest_rows"].clone();
    assert!((recorded["squared_norm_share"].as_f64().unwrap() / all - 1.0).abs() < 2e-3, "{recorded} {all}");
    assert_eq!((recorded["rows"].as_u64(), recorded["bos_share"].as_f64()), (Some(1), Some(1.0)));
    let said = bench.train("kept", "--architecture topk --k 6 --exclude bos");
    assert!(
        said.contains(&format!("hold {:.1} % of the squared norm", 100.0 * kept)) && !said.contains("WARN"),
        "{said}"
    );
}

/// In a context of 128 one row is a sink: less than a hundredth of the rows, and nearly all of the squared norm.
#[test]
fn sinks_are_reported_with_the_flag_that_excludes_them() {
    let bench = Bench::of(Tiny::cut(1024, 128));
    let said = bench.train("sae", "--architecture topk --k 6");
    println!("{said}");
    let line = said.lines().find(|line| line.contains("largest 1 %")).unwrap();
    assert!(line.contains("WARN") && line.contains("--exclude bos leaves them out"), "{line}");
    assert!(line.contains("100.0 % of that is BOS") || line.contains("99."), "{line}");
    let quiet = bench.train("without", "--architecture topk --k 6 --exclude bos");
    assert!(!quiet.contains("WARN"), "{quiet}");
    let quiet = bench.train("median", "--architecture topk --k 6 --outlier-norm 10xmedian");
    assert!(!quiet.contains("WARN"), "{quiet}");
}

#[test]
fn an_sae_in_scaled_space_is_given_its_own_rule_and_others_the_caches() {
    let bench = sinks();
    let scaled = |name: &str, exclude, sections: &[Section]| {
        let mut settings = TrainSettings { space: Space::Scaled, ..settings(&bench, name) };
        settings.course.scale = ScaleChoice::Auto;
        settings.course.exclude = exclude;
        settings.course.sections = sections.iter().map(|section| SectionChoice::Only(*section)).collect();
        train(&settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"));
        bench.out(name)
    };
    let without_bos = scaled("without-bos", ExcludeChoice::Bos, &[]);
    let rollout = scaled("rollout", ExcludeChoice::None, &[Section::Rollout]);
    let all = scaled("all", ExcludeChoice::None, &[]);
    let origin = |sae: &Path| training_origin(&SaeFile::open(sae).unwrap()).unwrap().unwrap();
    assert_eq!(
        (origin(&without_bos).scale_source, origin(&all).scale_source),
        (ScaleSource::KeptRows, ScaleSource::Cache)
    );

    // On another cache of the same model.
    let other = Tiny::cut(512, 40);
    let saes = vec![without_bos.clone(), all.clone(), rollout.clone()];
    let settings = RunSettings { ..RunSettings::new(model(), other.cache(), saes) };
    let found = results(&settings);
    let mean = |keep: &dyn Fn(bool) -> bool| {
        let norms: Vec<f64> =
            norms(&other.cache()).into_iter().filter(|(_, bos)| keep(*bos)).map(|(norm, _)| f64::from(norm)).collect();
        norms.iter().sum::<f64>() / norms.len() as f64
    };
    let (kept, every) =
        (32f64.sqrt() / mean(&|bos| !bos), Cache::open(other.cache()).unwrap().manifest().sites[0].scale());
    assert!((found[0].scale / kept - 1.0).abs() < 1e-12, "{} {kept}", found[0].scale);
    assert_eq!((found[0].scale_source, found[1].scale), (ScaleSource::KeptRows, every));
    assert!((kept / every) > 1.5, "{kept} {every}");
    let rows = found[0].scale_rows.clone().unwrap();
    assert_eq!((rows.exclude, rows.sections.len()), (ExcludeChoice::Bos, 0));
    assert!(found[2].scale > every && found[2].scale_rows.clone().unwrap().sections.len() == 1);
    // A rule from the user applies to all of them, and auto is over all rows.
    for result in results(&RunSettings { scale: ScaleChoice::Auto, ..settings.clone() }) {
        assert_eq!((result.scale, result.scale_source, result.scale_rows), (every, ScaleSource::Cache, None));
    }
    // A cache without such rows gives no scale.
    let bare = Tiny::of(vec![vec![0, 5, 9]]);
    let error = run(&RunSettings::new(model(), bare.cache(), vec![rollout]), Progress::Silent).unwrap_err().to_string();
    assert!(error.contains("rows of section rollout") && error.contains("--scale auto"), "{error}");
}

#[test]
fn a_fine_tuning_is_evaluated_by_the_rows_and_the_scale_of_its_training() {
    let bench = sinks();
    let tune = |name: &str, sae: PathBuf, scale| {
        let course = Course { exclude: ExcludeChoice::Bos, scale, learning_rate: 1e-4, ..bench.course(name, 640) };
        let settings = FinetuneSettings {
            course: Course { outlier_norm: Some("10xmedian".parse().unwrap()), ..course },
            sae,
            site: None,
            coefficients: Coefficients { l1: Some(0.05), ..Coefficients::default() },
        };
        let results = finetune(&settings, &evaluation(), Progress::Silent)
            .unwrap_or_else(|error| panic!("{error}"))
            .results
            .results;
        (results, training_origin(&SaeFile::open(&bench.out(name)).unwrap()).unwrap().unwrap())
    };
    let (results, origin) = tune("auto", sae(), ScaleChoice::Auto);
    assert_eq!(origin.scale_source, ScaleSource::KeptRows);
    let rows = origin.rows;
    assert_eq!(
        (rows.choice.exclude, rows.outlier_norm.unwrap().rule.to_string()),
        (ExcludeChoice::Bos, "10xmedian".to_owned())
    );
    for result in &results {
        assert_eq!(
            (result.scale, result.scale_source, result.sums.excluded_rows),
            (origin.scale, ScaleSource::KeptRows, 6)
        );
        assert_eq!(result.outlier_rule, rows.outlier_norm.map(|own| own.rule));
    }
    // By default the scale follows the SAE's rule, for any choice of training rows.
    let mut settings = TrainSettings {
        space: Space::Scaled,
        architecture: Architecture::Standard { l1: 0.05 },
        ..settings(&bench, "scaled")
    };
    settings.course.scale = ScaleChoice::Auto;
    train(&settings, Progress::Silent).unwrap();
    let (results, origin) = tune("followed", bench.out("scaled"), ScaleChoice::FollowSae);
    assert_eq!((origin.scale_source, origin.scale_rows), (ScaleSource::Cache, None));
    assert!(results.iter().all(|result| result.scale.to_bits() == origin.scale.to_bits() && result.scale_source == ScaleSource::Cache));
}

#[test]
fn contexts_of_any_length_have_one_scale_without_their_sinks() {
    let scales = |exclude: ExcludeChoice| {
        [64, 256, 1024].map(|context| {
            let tiny = Tiny::cut(4096, context);
            let out = tempfile::tempdir().unwrap();
            let course = Course {
                batch: 16,
                exclude,
                scale: ScaleChoice::Auto,
                ..Course::new(tiny.cache(), out.path().join("sae"), 16)
            };
            let architecture = Architecture::TopK { k: 6, auxiliary: 1.0 };
            let settings = TrainSettings::new(course, SITE.parse().unwrap(), architecture, 48);
            train(&settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"));
            training_origin(&SaeFile::open(&out.path().join("sae")).unwrap()).unwrap().unwrap().scale
        })
    };
    let apart = |scales: [f64; 3]| {
        let (least, most) =
            (scales.iter().fold(f64::MAX, |a, b| a.min(*b)), scales.iter().fold(0.0f64, |a, b| a.max(*b)));
        most / least - 1.0
    };
    let (all, kept) = (scales(ExcludeChoice::None), scales(ExcludeChoice::Bos));
    println!("scales of contexts of 64, 256 and 1024: over all rows {all:?}, but BOS {kept:?}");
    assert!(apart(kept) < 0.02, "{kept:?}");
    assert!(apart(all) > 0.5, "{all:?}");
}
