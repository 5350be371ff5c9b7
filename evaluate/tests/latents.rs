//! Statistics of latents on a small cache, compared with the definitions computed by brute force, and with `run`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{RecordBatch, StructArray};
use hayloft_evaluate::{LatentsReport, LatentsSettings, RunSettings, latents, run};
use hayloft_rows::{ExcludeChoice, ScaleChoice, SectionChoice};
use hayloft_runtime::Progress;
use hayloft_store::{Cache, Section};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tch::{Kind, Tensor};
use tempfile::TempDir;

use crate::support::bench::{Bench, architectures, trained};
use crate::support::tiny::{SITE, Tiny, model, sae};
use crate::support::{Copy, tensor};

/// The files of a run.
struct Files {
    latents: RecordBatch,
    examples: RecordBatch,
    report: LatentsReport,
    /// The bytes of both.
    bytes: [Vec<u8>; 2],
    _folder: TempDir,
}

/// The rows of a file, which are few.
fn only_batch(path: &Path) -> RecordBatch {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20);
    let schema = Arc::clone(reader.schema());
    let mut batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    assert!(batches.len() <= 1, "{}", path.display());
    batches.pop().unwrap_or_else(|| RecordBatch::new_empty(schema))
}

fn files(settings: LatentsSettings) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let settings = LatentsSettings { out: out.clone(), ..settings };
    let report = latents(&settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"));
    let paths = ["latents.parquet", "examples.parquet"].map(|name| out.join(name));
    let bytes = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    Files { latents: only_batch(&paths[0]), examples: only_batch(&paths[1]), report, bytes, _folder: folder }
}

fn settings(tiny: &Tiny, saes: Vec<PathBuf>) -> LatentsSettings {
    LatentsSettings::new(tiny.cache(), saes, "")
}

fn refused(settings: &LatentsSettings) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let message = latents(&LatentsSettings { out: out.clone(), ..settings.clone() }, Progress::Silent).unwrap_err();
    assert!(!out.exists(), "files were written: {message}");
    message.to_string()
}

fn u64s(batch: &RecordBatch, name: &str) -> Vec<u64> {
    batch[name].as_primitive::<UInt64Type>().values().to_vec()
}

fn u32s(batch: &RecordBatch, name: &str) -> Vec<u32> {
    batch[name].as_primitive::<UInt32Type>().values().to_vec()
}

fn f64s(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch[name].as_primitive::<Float64Type>().iter().collect()
}

fn f32s(batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    batch[name].as_primitive::<Float32Type>().iter().collect()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    batch[name].as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

/// The structs of a list column in a row.
fn structs(batch: &RecordBatch, name: &str, row: usize) -> StructArray {
    batch[name].as_list::<i32>().value(row).as_struct().clone()
}

/// A token of the cache.
struct Token {
    sequence: u64,
    position: u32,
    id: u32,
    section: Section,
    subset: Option<String>,
    /// All latents, by the definition of a standard SAE that subtracts its decoder's bias, in float64.
    latents: Vec<f64>,
}

/// All tokens, in the cache's order, with the latents of the fixtures' SAE.
fn tokens(tiny: &Tiny, scale: f64) -> Vec<Token> {
    let weights = sae().join("sae_weights.safetensors");
    let weight = |name| tensor(&weights, name).to_kind(Kind::Double);
    let (encoder, encoder_bias, bias) = (weight("W_enc"), weight("b_enc"), weight("b_dec"));
    let cache = Cache::open(tiny.cache()).unwrap();
    let mut all = Vec::new();
    for rows in cache.site(SITE).unwrap().row_groups() {
        let rows = rows.unwrap();
        let x = Tensor::from_slice(&rows.f32()).view([rows.len() as i64, -1]).to_kind(Kind::Double) * scale;
        let latents = ((x - &bias).matmul(&encoder) + &encoder_bias).relu();
        for (place, row) in rows.rows().enumerate() {
            all.push(Token {
                sequence: row.sequence,
                position: row.position,
                id: row.token,
                section: row.section,
                subset: rows.subset()[place].as_deref().map(str::to_owned),
                latents: Vec::try_from(latents.get(place as i64)).unwrap(),
            });
        }
    }
    all
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-4 * right.abs().max(1.0)
}

/// Checks the two files against tokens; those that `is_read` accepts are read.
fn check(found: &Files, tokens: &[Token], is_read: impl Fn(&Token) -> bool, settings: &LatentsSettings) {
    let read: Vec<&Token> = tokens.iter().filter(|token| is_read(token)).collect();
    let (firings, densities) = (u64s(&found.latents, "firings"), f64s(&found.latents, "density"));
    let (means, maxima) = (f64s(&found.latents, "mean"), f32s(&found.latents, "max"));
    let medians = f64s(&found.latents, "p50");
    let width = tokens[0].latents.len();
    assert_eq!(u32s(&found.latents, "latent"), (0..width as u32).collect::<Vec<_>>());
    assert!(firings.iter().any(|&count| count > 0) && u64s(&found.latents, "tokens") == vec![read.len() as u64; width]);
    for latent in 0..width {
        let mut active: Vec<&Token> = read.iter().copied().filter(|token| token.latents[latent] > 0.0).collect();
        assert_eq!(firings[latent], active.len() as u64, "{latent}");
        assert_eq!(densities[latent], Some(active.len() as f64 / read.len() as f64));
        let sum: f64 = active.iter().map(|token| token.latents[latent]).sum();
        let mean = (!active.is_empty()).then(|| sum / active.len() as f64);
        assert_eq!(means[latent].is_some(), mean.is_some());
        assert!(means[latent].zip(mean).is_none_or(|(got, expected)| near(got, expected)), "{latent}");
        check_groups(&found.latents, latent, &read);
        active.sort_by(|left, right| right.latents[latent].total_cmp(&left.latents[latent]));
        let max = active.first().map(|token| token.latents[latent]);
        assert!(maxima[latent].map(f64::from).zip(max).is_none_or(|(got, expected)| near(got, expected)), "{latent}");
        if let Some(median) = medians[latent] {
            // A bin is an eighth of a doubling wide.
            let own = active[active.len() / 2].latents[latent];
            let before = active[(active.len() - 1) / 2].latents[latent];
            assert!(own / 1.13 < median && median < before * 1.13, "{latent}: {median}, expected {own} to {before}");
        }
        check_examples(&found.examples, latent, &active, tokens, &is_read, settings);
    }
}

fn check_groups(latents: &RecordBatch, latent: usize, read: &[&Token]) {
    type Counts = BTreeMap<Option<String>, (u64, u64)>;
    let expected = |name: fn(&Token) -> Option<String>| {
        let mut counts = Counts::new();
        for token in read {
            let (tokens, firings) = counts.entry(name(token)).or_default();
            *tokens += 1;
            *firings += u64::from(token.latents[latent] > 0.0);
        }
        counts
    };
    for (column, name, expected) in [
        ("sections", "section", expected(|token| Some(token.section.to_string()))),
        ("subsets", "subset", expected(|token| token.subset.clone())),
    ] {
        let own = structs(latents, column, latent);
        let names = own.column_by_name(name).unwrap().as_string::<i32>().clone();
        let count = |name: &str| own.column_by_name(name).unwrap().as_primitive::<UInt64Type>().values().to_vec();
        let got: Counts = names
            .iter()
            .zip(count("tokens").into_iter().zip(count("firings")))
            .map(|(name, counts)| (name.map(str::to_owned), counts))
            .collect();
        assert_eq!(got, expected, "{column} of {latent}");
    }
}

/// Checks a latent's examples; `active` are its firings, the largest first.
fn check_examples(
    examples: &RecordBatch,
    latent: usize,
    active: &[&Token],
    tokens: &[Token],
    is_read: &impl Fn(&Token) -> bool,
    settings: &LatentsSettings,
) {
    let own: Vec<usize> = u32s(examples, "latent")
        .into_iter()
        .enumerate()
        .filter(|own| own.1 as usize == latent)
        .map(|own| own.0)
        .collect();
    let kinds = texts(examples, "kind");
    let (top, sampled): (Vec<usize>, Vec<usize>) = own.iter().partition(|row| kinds[**row].as_deref() == Some("top"));
    assert_eq!((top.len(), sampled.len()), (active.len().min(settings.top), active.len().min(settings.sampled)));
    let activations = f32s(examples, "activation");
    for (&row, token) in top.iter().zip(active) {
        assert!(near(f64::from(activations[row].unwrap()), token.latents[latent]), "{latent}");
    }
    assert!(sampled.windows(2).all(|pair| activations[pair[0]] <= activations[pair[1]]));
    let places: Vec<(u64, u32)> = u64s(examples, "sequence").into_iter().zip(u32s(examples, "position")).collect();
    for row in own {
        let (sequence, position) = places[row];
        let near_by: Vec<&Token> = tokens
            .iter()
            .filter(|token| token.sequence == sequence && token.position.abs_diff(position) <= settings.window)
            .collect();
        let itself = near_by.iter().find(|token| token.position == position).unwrap();
        assert!(near(f64::from(activations[row].unwrap()), itself.latents[latent]));
        assert_eq!(u32s(examples, "token")[row], itself.id);
        assert_eq!(texts(examples, "section")[row], Some(itself.section.to_string()));
        assert_eq!(texts(examples, "subset")[row], itself.subset);
        assert_eq!(u32s(examples, "first_position")[row], near_by[0].position);
        let ids = examples["tokens"].as_list::<i32>().value(row).as_primitive::<UInt32Type>().values().to_vec();
        assert_eq!(ids, near_by.iter().map(|token| token.id).collect::<Vec<_>>());
        let around = examples["activations"].as_list::<i32>().value(row);
        for (token, got) in near_by.iter().zip(around.as_primitive::<Float32Type>()) {
            assert_eq!(got.is_some(), is_read(token), "{latent} at {sequence}:{}", token.position);
            assert!(got.is_none_or(|got| near(f64::from(got), token.latents[latent])), "{latent}");
        }
    }
}

#[test]
fn every_column_agrees_with_the_definitions() {
    let tiny = Tiny::new();
    let settings = LatentsSettings { top: 4, sampled: 3, window: 2, ..settings(&tiny, vec![sae()]) };
    check(&files(settings.clone()), &tokens(&tiny, 1.0), |_| true, &settings);
}

#[test]
fn rows_that_are_left_out_count_nowhere_and_have_no_activations() {
    let tiny = Tiny::new();
    let mut settings = LatentsSettings { top: 4, sampled: 3, window: 3, ..settings(&tiny, vec![sae()]) };
    let sections = [Section::Rollout, Section::Bos, Section::Control];
    settings.run = RunSettings {
        sections: sections.map(SectionChoice::Only).to_vec(),
        exclude: ExcludeChoice::Bos,
        scale: ScaleChoice::Given(1.7),
        ..settings.run
    };
    let found = files(settings.clone());
    let is_read = |token: &Token| sections.contains(&token.section) && token.id != 0;
    check(&found, &tokens(&tiny, 1.7), is_read, &settings);
    assert_eq!(found.report.saes[0].excluded_tokens, 6);
    assert!(found.report.table(80).contains("6 tokens are left out, excluded"));
}

#[test]
fn firings_are_those_that_an_evaluation_counts_for_every_architecture() {
    let bench = Bench::new();
    let mut saes = vec![sae()];
    for (number, architecture) in architectures().into_iter().enumerate() {
        let name = format!("sae {number}");
        trained(&bench.settings(&name, architecture));
        saes.push(bench.out(&name));
    }
    let found = files(settings(&bench.tiny, saes.clone()));
    let (firings, names) = (u64s(&found.latents, "firings"), texts(&found.latents, "sae"));
    let run =
        run(&RunSettings { model: None, ..RunSettings::new(model(), bench.tiny.cache(), saes) }, Progress::Silent);
    let run = run.unwrap();
    for ((result, counts), report) in run.results.iter().zip(&run.latents).zip(&found.report.saes) {
        let is_own = |name: &Option<String>| name.as_deref() == Some(&result.sae);
        let own: Vec<u64> = firings.iter().zip(&names).filter(|(_, name)| is_own(name)).map(|(own, _)| *own).collect();
        assert_eq!(own, counts.firings, "{}", result.sae);
        assert!(own.iter().sum::<u64>() > 0, "{}", result.sae);
        assert_eq!((report.dead, report.dense), (result.latents.dead, result.latents.dense));
        assert!(report.l0.zip(result.columns.l0).is_some_and(|(got, expected)| (got - expected).abs() < 1e-12));
    }
}

#[test]
fn similar_latents_are_those_of_the_definitions() {
    let tiny = Tiny::new();
    let found = files(LatentsSettings { top: 0, sampled: 0, ..settings(&tiny, vec![sae()]) });
    let tokens = tokens(&tiny, 1.0);
    let decoder = tensor(&sae().join("sae_weights.safetensors"), "W_dec").to_kind(Kind::Double);
    let unit = &decoder / decoder.linalg_norm(2.0, [-1i64].as_slice(), true, Kind::Double);
    let cosines = unit.matmul(&unit.tr());
    let width = tokens[0].latents.len();
    let fires = |token: &Token, latent: usize| token.latents[latent] > 0.0;
    let count = |of: &dyn Fn(&Token) -> bool| tokens.iter().filter(|token| of(token)).count() as f64;
    let mut strongest = 0.0f64;
    for latent in 0..width {
        let by = |value: &dyn Fn(usize) -> f64| {
            let mut others: Vec<(f64, usize)> =
                (0..width).filter(|&other| other != latent).map(|other| (value(other), other)).collect();
            others.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
            others.truncate(5);
            others
        };
        let expected = by(&|other| cosines.double_value(&[latent as i64, other as i64]));
        let nearest = structs(&found.latents, "nearest", latent);
        let got = nearest.column_by_name("cosine").unwrap().as_primitive::<Float32Type>().values().to_vec();
        assert_eq!(got.len(), expected.len());
        for (got, (expected, _)) in got.into_iter().zip(expected) {
            assert!((f64::from(got) - expected).abs() < 1e-6, "{latent}");
        }
        let mut expected = by(&|other| {
            let either = count(&|token| fires(token, latent) || fires(token, other));
            if either > 0.0 { count(&|token| fires(token, latent) && fires(token, other)) / either } else { 0.0 }
        });
        expected.retain(|(jaccard, _)| *jaccard > 0.0);
        let cofiring = structs(&found.latents, "cofiring", latent);
        let jaccard = cofiring.column_by_name("jaccard").unwrap().as_primitive::<Float64Type>().values().to_vec();
        let others = cofiring.column_by_name("latent").unwrap().as_primitive::<UInt32Type>().values().to_vec();
        let got: Vec<(f64, usize)> = jaccard.into_iter().zip(others.into_iter().map(|other| other as usize)).collect();
        assert_eq!(got, expected, "{latent}");
        strongest = expected.first().map_or(strongest, |(own, _)| strongest.max(*own));
    }
    assert!(strongest > 0.1);
}

#[test]
fn the_same_settings_give_the_same_bytes_and_another_seed_other_samples() {
    let tiny = Tiny::new();
    let settings = LatentsSettings { sampled: 2, ..settings(&tiny, vec![sae()]) };
    let (once, again) = (files(settings.clone()), files(settings.clone()));
    assert_eq!(once.bytes, again.bytes);
    let other = files(LatentsSettings { seed: 1, ..settings });
    assert_eq!(u64s(&once.latents, "firings"), u64s(&other.latents, "firings"));
    assert_ne!(u32s(&once.examples, "position"), u32s(&other.examples, "position"));
}

#[test]
fn chosen_shards_and_latents_alone() {
    let tiny = Tiny::new();
    let all = settings(&tiny, vec![sae()]);
    let tokens = |range: &str| {
        let found = files(LatentsSettings { shards: range.parse().unwrap(), ..all.clone() });
        (u64s(&found.latents, "tokens")[0], u64s(&found.latents, "firings"))
    };
    let (first, second) = (tokens("..1"), tokens("1.."));
    let whole = files(all.clone());
    let sums: Vec<u64> = first.1.iter().zip(&second.1).map(|(first, second)| first + second).collect();
    assert_eq!((first.0 + second.0, sums), (u64s(&whole.latents, "tokens")[0], u64s(&whole.latents, "firings")));
    let message = refused(&LatentsSettings { shards: "2..".parse().unwrap(), ..all.clone() });
    assert!(message.contains("--shards 2..") && message.contains("0, 1"), "{message}");

    let two = files(LatentsSettings { examples_of: Some("3..5".parse().unwrap()), ..all.clone() });
    assert_eq!(two.latents, whole.latents);
    assert!(u32s(&two.examples, "latent").iter().all(|latent| (3..5).contains(latent)));
    let width = whole.latents.num_rows();
    let message = refused(&LatentsSettings { examples_of: Some(width.to_string().parse().unwrap()), ..all });
    assert!(message.contains(&format!("got {width}")) && message.contains("--latents"), "{message}");
}

#[test]
fn an_sae_that_never_fires_has_no_figures_of_activations() {
    let tiny = Tiny::new();
    let silent = Copy::of_folder(&sae());
    silent.edit_weights(|tensors| {
        for (_, bias) in tensors.iter_mut().filter(|(name, _)| name == "b_enc") {
            let _ = bias.fill_(-1e9);
        }
    });
    let found = files(settings(&tiny, vec![silent.path().to_path_buf()]));
    let width = found.latents.num_rows();
    assert_eq!(u64s(&found.latents, "firings"), vec![0; width]);
    assert_eq!(f64s(&found.latents, "density"), vec![Some(0.0); width]);
    for name in ["mean", "p10", "p99"] {
        assert_eq!(f64s(&found.latents, name), vec![None; width]);
    }
    assert_eq!((f32s(&found.latents, "max"), found.examples.num_rows()), (vec![None; width], 0));
    let report = &found.report.saes[0];
    assert_eq!((report.dead, report.dense, report.l0), (Some(width as u64), Some(0), Some(0.0)));
    assert!(found.report.table(80).contains("no latent fires"), "{}", found.report.table(80));
}

#[test]
fn one_token_is_enough_and_none_leaves_figures_undefined() {
    let tiny = Tiny::of(vec![vec![5]]);
    let settings = LatentsSettings { top: 2, sampled: 2, window: 1, ..settings(&tiny, vec![sae()]) };
    check(&files(settings.clone()), &tokens(&tiny, 1.0), |_| true, &settings);

    let none = RunSettings { outlier_norm: Some(1e-9.into()), ..settings.run.clone() };
    let found = files(LatentsSettings { run: none, ..settings });
    let width = found.latents.num_rows();
    assert_eq!(f64s(&found.latents, "density"), vec![None; width]);
    let report = &found.report.saes[0];
    assert_eq!((report.tokens, report.dead, report.l0, report.outlier_tokens), (0, None, None, 1));
    assert!(found.report.table(80).contains("1 tokens are left out"), "{}", found.report.table(80));
}

#[test]
fn what_does_not_fit_the_cache_is_refused_and_nothing_is_written() {
    let tiny = Tiny::new();
    let all = settings(&tiny, vec![sae()]);
    let refused = |run: RunSettings| refused(&LatentsSettings { run, ..all.clone() });
    let message = refused(RunSettings { site: Some("blocks.2.hook_resid_post".parse().unwrap()), ..all.run.clone() });
    assert!(message.contains("blocks.2.hook_resid_post"), "{message}");
    let message = refused(RunSettings { saes: vec![Copy::of("standard-none").path().into()], ..all.run.clone() });
    assert!(message.contains("32 wide") && message.contains("for 16"), "{message}");
    let sections = vec![SectionChoice::Only(Section::System)];
    let message = refused(RunSettings { sections, ..all.run.clone() });
    assert!(message.contains("system") && message.contains("user_prompt"), "{message}");
    let message = refused(RunSettings { tokenizer: Some(model()), ..all.run.clone() });
    assert!(message.contains("tokenizer.json: expected BLAKE3 1111"), "{message}");
    let message = refused(RunSettings { exclude: ExcludeChoice::Special, ..all.run.clone() });
    assert!(message.contains("--tokenizer"), "{message}");
}
