//! Harvesting with a tiny model: what is stored is what the model computes, in one go or in several.

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_checkpoint::Checkpoint;
use hayloft_harvest::{HarvestError, Logits, PlanSettings, RunSettings, plan, run};
use hayloft_model::{Decoder, Portion, Positions, no_grad};
use hayloft_runtime::{Progress, Stopping};
use hayloft_store::{Cache, Codec, Dtype, Existing, KeptPredictions, SiteName};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{D_MODEL, Farm, contents, harvest};

/// The files of the shards, which must not depend on how the run went.
fn shards(cache: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    contents(&cache.join("shards"))
}

fn floats(bits: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bits.len() / 4];
    Dtype::F32.widen(bits, &mut values);
    values
}

/// A site's activations over a shard, `[rows * d_model]`.
fn activations(cache: &Cache, shard: usize, site: &SiteName) -> Vec<f32> {
    let reader = cache.shard(shard).unwrap().activations(site).unwrap();
    let mut bits = Vec::new();
    (0..reader.row_groups())
        .flat_map(|group| {
            reader.read(group, &mut bits).unwrap();
            floats(&bits)
        })
        .collect()
}

fn vector(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_kind(Kind::Float).flatten(0, -1);
    Vec::try_from(&flat).unwrap()
}

fn assert_close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
}

#[test]
fn stored_activations_equal_those_of_each_sequence_alone() {
    let farm = Farm::new();
    let settings = farm.run_settings();
    let summary = harvest(&settings);
    let cache = Cache::open(farm.cache()).unwrap();
    assert_eq!((summary.filled_shards, summary.complete_shards), (summary.planned_shards, summary.planned_shards));
    assert_eq!(cache.shards(), summary.planned_shards);
    assert_eq!(summary.tokens, cache.manifest().held.tokens);
    assert_eq!(cache.manifest().predictions, Some(KeptPredictions::top(12)));

    let _guard = no_grad();
    let checkpoint = Checkpoint::open(&farm.model()).unwrap();
    let decoder = Decoder::load(&checkpoint, Portion::Whole, Dtype::F32, Device::Cpu).unwrap();
    for index in 0..cache.shards() {
        let shard = cache.shard(index).unwrap();
        let tokens = shard.tokens().unwrap();
        let predictions = shard.predictions().unwrap().unwrap();
        let stored: Vec<Vec<f32>> =
            cache.manifest().sites.iter().map(|site| activations(&cache, index, &site.name)).collect();
        for sequence in shard.sequences() {
            let rows = sequence.first_row as usize..sequence.first_row as usize + sequence.length as usize;
            let ids: Vec<i64> = tokens.token[rows.clone()].iter().map(|id| i64::from(*id)).collect();
            let positions = Positions::from_start(ids.len());
            let mut residual = decoder.embed(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap();
            for (block, stored) in [1, 3].into_iter().zip(&stored) {
                residual = decoder.advance(&residual, block, &positions).unwrap();
                assert_close(&stored[rows.start * D_MODEL..rows.end * D_MODEL], &vector(&residual.stream));
            }
            let log_softmax = decoder.logits(&residual).unwrap().log_softmax(-1, Kind::Float);
            for (position, row) in rows.clone().enumerate() {
                let at = |id: i64| vector(&log_softmax.get(0).get(position as i64).get(id))[0];
                match ids.get(position + 1) {
                    Some(next) => assert_close(&[predictions.loss[row]], &[-at(*next)]),
                    None => assert!(predictions.loss[row].is_nan()),
                }
                // With all of the vocabulary kept, logsumexp and each kept logit give its log-probability.
                for kept in row * 12..(row + 1) * 12 {
                    let log_probability = predictions.top_logits[kept] - predictions.logsumexp[row];
                    assert_close(&[log_probability], &[at(i64::from(predictions.top_ids[kept]))]);
                }
                let entropy: f32 = (0..12).map(|id| -at(id) * at(id).exp()).sum();
                assert_close(&[predictions.entropy[row]], &[entropy]);
            }
        }
    }
}

#[test]
fn the_summary_is_that_of_the_stored_activations() {
    let farm = Farm::new();
    let summary = harvest(&farm.run_settings());
    let cache = Cache::open(farm.cache()).unwrap();
    for (site, record) in summary.sites.iter().zip(&cache.manifest().sites) {
        let all: Vec<f32> = (0..cache.shards()).flat_map(|index| activations(&cache, index, &record.name)).collect();
        let norms: Vec<f64> =
            all.chunks(D_MODEL).map(|row| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()).collect();
        let mean = norms.iter().sum::<f64>() / norms.len() as f64;
        assert_eq!((site.rows, site.non_finite_rows), (norms.len() as u64, 0));
        assert!((site.mean_norm - mean).abs() < 1e-9);
        assert!((site.scale - (D_MODEL as f64).sqrt() / mean).abs() < 1e-9);
    }
}

#[test]
fn twice_and_in_parts_give_the_same_bytes() {
    let [whole, parts] = [Farm::new(), Farm::new()];
    let summary = harvest(&whole.run_settings());
    let mut settings = parts.run_settings();
    for (range, filled) in [("2..3", 1), ("..2", 2), ("..", summary.planned_shards - 3)] {
        settings.shards = range.parse().unwrap();
        assert_eq!(harvest(&settings).filled_shards, filled);
        settings.existing = Existing::Resume;
        settings.data = None;
    }
    assert_eq!(contents(&whole.cache()), contents(&parts.cache()));
}

#[test]
fn one_machine_fills_what_another_planned_without_the_data() {
    let farm = Farm::new();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    fs::remove_file(farm.path("hay.jsonl")).unwrap();
    fs::remove_file(farm.path("hay.toml")).unwrap();
    let mut settings = farm.run_settings();
    (settings.data, settings.shard_tokens, settings.row_group_rows) = (None, None, None);
    let summary = harvest(&settings);
    assert_eq!(summary.complete_shards, summary.planned_shards);
}

#[test]
fn codecs_store_the_same_activations() {
    let farm = Farm::new();
    let caches = [Codec::PLANES, Codec::RAW].map(|codec| {
        let settings = RunSettings { codec, out: farm.path(&codec.to_string()), ..farm.run_settings() };
        harvest(&settings);
        Cache::open(&settings.out).unwrap()
    });
    let [planes, raw] = &caches;
    for index in 0..planes.shards() {
        for site in &planes.manifest().sites {
            assert_eq!(activations(planes, index, &site.name), activations(raw, index, &site.name));
        }
    }
}

#[test]
fn the_type_asked_for_is_the_one_stored() {
    let farm = Farm::new();
    for (precision, dtype) in [(Dtype::Bf16, Dtype::Bf16), (Dtype::F16, Dtype::F16), (Dtype::F32, Dtype::F32)] {
        let out = farm.path(&precision.to_string());
        harvest(&RunSettings { precision: Some(precision), out: out.clone(), ..farm.run_settings() });
        let cache = Cache::open(&out).unwrap();
        assert_eq!((cache.manifest().dtype, cache.manifest().model.precision), (dtype, dtype));
    }
}

#[test]
fn logits_are_kept_as_asked() {
    let farm = Farm::new();
    for (logits, kept) in [
        ("none", None),
        ("loss", Some(KeptPredictions::top(0))),
        ("top=3", Some(KeptPredictions::top(3))),
        ("full", Some(KeptPredictions { top_k: 12, full_logits: true })),
    ] {
        let out = farm.path(logits);
        harvest(&RunSettings { logits: logits.parse().unwrap(), out: out.clone(), ..farm.run_settings() });
        let cache = Cache::open(&out).unwrap();
        assert_eq!(cache.manifest().predictions, kept);
        let predictions = cache.shard(0).unwrap().predictions().unwrap();
        assert_eq!(predictions.map(|predictions| predictions.top_k as u32), kept.map(|kept| kept.top_k));
        let full = kept.is_some_and(|kept| kept.full_logits);
        assert_eq!(cache.shard(0).unwrap().logits().unwrap().is_some(), full);
    }
}

/// All logits of a cache in its own type, as float32, shard by shard, `[rows, vocab]` each.
fn all_logits(cache: &Cache, kind: Kind) -> Vec<Tensor> {
    let of_shard = |index| {
        let reader = cache.shard(index).unwrap().logits().unwrap().unwrap();
        let (mut all, mut bits) = (Vec::new(), Vec::new());
        for row_group in 0..reader.row_groups() {
            reader.read(row_group, &mut bits).unwrap();
            all.extend_from_slice(&bits);
        }
        let words = (all.len() / kind.elt_size_in_bytes()) as i64;
        let shape = [words / reader.d_model() as i64, reader.d_model() as i64];
        Tensor::from_data_size(&all, &shape, kind).to_kind(Kind::Float)
    };
    (0..cache.shards()).map(of_shard).collect()
}

#[test]
fn all_logits_are_those_that_the_predictions_are_of() {
    let farm = Farm::new();
    for (precision, kind) in [(Dtype::F32, Kind::Float), (Dtype::Bf16, Kind::BFloat16)] {
        let out = farm.path(&format!("full-{precision}"));
        let precision = Some(precision);
        harvest(&RunSettings { logits: Logits::Full, precision, out: out.clone(), ..farm.run_settings() });
        let cache = Cache::open(&out).unwrap();
        for (index, logits) in all_logits(&cache, kind).into_iter().enumerate() {
            let shard = cache.shard(index).unwrap();
            let kept = shard.predictions().unwrap().unwrap();
            let (tokens, rows) = (shard.tokens().unwrap().token, kept.loss.len());
            assert_eq!(logits.size()[0], rows as i64);
            let logsumexp: Vec<f64> = logits.to_kind(Kind::Double).logsumexp(-1, false).try_into().unwrap();
            let (largest, ids) = logits.topk(1, -1, true, true);
            for row in 0..rows {
                assert!((f64::from(kept.logsumexp[row]) - logsumexp[row]).abs() < 1e-5);
                let top = largest.double_value(&[row as i64, 0]) as f32;
                assert_eq!(kept.top_logits[row * kept.top_k].to_bits(), top.to_bits());
                assert!(
                    kept.top_ids[row * kept.top_k] == ids.int64_value(&[row as i64, 0]) as u32
                        || precision != Some(Dtype::F32)
                );
                if !kept.loss[row].is_nan() {
                    let own = logits.double_value(&[row as i64, i64::from(tokens[row + 1])]);
                    assert!((f64::from(kept.loss[row]) - (logsumexp[row] - own)).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn logits_do_not_change_the_activations() {
    let farm = Farm::new();
    let caches = [Logits::None, Logits::Loss, Logits::Full].map(|logits| {
        let settings = RunSettings { logits, out: farm.path(&logits.to_string()), ..farm.run_settings() };
        harvest(&settings);
        let files = shards(&settings.out).into_iter();
        files.filter(|(path, _)| path.to_string_lossy().contains("hook_resid")).collect::<Vec<_>>()
    });
    assert!(!caches[0].is_empty());
    assert_eq!(caches[0], caches[1]);
    assert_eq!(caches[0], caches[2]);
}

#[test]
fn nothing_left_to_do() {
    let farm = Farm::new();
    harvest(&farm.run_settings());
    let before = contents(&farm.cache());
    let summary = harvest(&RunSettings { existing: Existing::Resume, ..farm.run_settings() });
    assert_eq!((summary.filled_shards, summary.tokens), (0, 0));
    assert!(summary.to_string().starts_with("nothing left to do"), "{summary}");
    assert_eq!(summary.sites.len(), 2);
    assert_eq!(contents(&farm.cache()), before);
}

#[test]
fn a_site_given_twice_is_one_site() {
    let farm = Farm::new();
    let mut settings = farm.run_settings();
    settings.sites.push(settings.sites[0].clone());
    assert_eq!(harvest(&settings).sites.len(), 2);
}

#[test]
fn sites_with_one_tensor_between_them_are_both_stored() {
    let farm = Farm::new();
    let sites = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_pre"].map(|site| site.parse().unwrap());
    harvest(&RunSettings { sites: sites.into(), ..farm.run_settings() });
    let cache = Cache::open(farm.cache()).unwrap();
    let stored = cache.manifest().sites.iter().map(|site| activations(&cache, 0, &site.name)).collect::<Vec<_>>();
    assert_eq!(stored[0], stored[1]);
}

#[test]
fn plans_first_with_the_usual_sizes() {
    let farm = Farm::new();
    let settings = RunSettings { shard_tokens: None, row_group_rows: None, ..farm.run_settings() };
    assert_eq!(harvest(&settings).planned_shards, 1);
    let corpus = Cache::open(farm.cache()).unwrap().manifest().corpus.clone();
    assert_eq!(
        (corpus.shard_tokens, corpus.row_group_rows),
        (PlanSettings::SHARD_TOKENS, PlanSettings::ROW_GROUP_ROWS)
    );
}

#[test]
fn a_stopped_run_leaves_no_partial_plan_and_no_partial_shard() {
    let farm = Farm::new();
    let stopping = Stopping::default();
    stopping.ask();
    let settings = RunSettings { stopping, ..farm.run_settings() };
    assert!(matches!(run(&settings, Progress::Silent), Err(HarvestError::Stopped)));
    assert!(!farm.cache().join("plan.json").exists() && !farm.cache().join("plan").exists());
    // With a plan, nothing is filled.
    harvest(&RunSettings { shards: "0..1".parse().unwrap(), ..farm.run_settings() });
    let settings = RunSettings { existing: Existing::Resume, ..settings };
    assert!(matches!(run(&settings, Progress::Silent), Err(HarvestError::Stopped)));
    assert_eq!(fs::read_dir(farm.cache().join("shards")).unwrap().count(), 1);
}
