//! A real model's cache compared with transformers: predictions of every token, mean norm, mean vector, bits.
//! `scripts/goldens/stories.py` makes the golden.

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{Decoder, Portion, Positions};
use hayloft_runtime::Dtype;
use hayloft_store::{Cache, Predictions, Sequence, SiteName};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::support::fixture;
use crate::support::stories::Stories;

const SITE: &str = "blocks.3.hook_resid_pre";

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("stories/golden.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The largest difference of two columns.
fn difference(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(got, expected)| (f64::from(*got) - expected).abs()).fold(0.0, f64::max)
}

#[test]
fn predictions_and_means_in_the_cache_are_those_of_transformers() {
    let stories = Stories::harvest("--dtype f32 --logits top=4");
    let golden = &golden()["harvest"];
    let cache = Cache::open(&stories.cache).unwrap();

    let site = &cache.manifest().sites[0];
    assert_eq!(site.rows, golden["rows"].as_u64().unwrap());
    assert!((site.mean_norm - golden["mean_norm"].as_f64().unwrap()).abs() < 1e-5, "{}", site.mean_norm);
    let mean: Vec<f32> = site.mean[..8].iter().map(|&element| element as f32).collect();
    assert!(difference(&mean, &numbers(&golden["mean_first_8"])) < 1e-5);

    let shard = cache.shard(0).unwrap();
    let first: &Sequence = shard.sequences().iter().find(|sequence| sequence.id == 0).unwrap();
    let rows = first.first_row as usize..(first.first_row + u64::from(first.length)) as usize;
    let expected = &golden["first_sequence"];
    let tokens: Vec<f64> = shard.tokens().unwrap().token[rows.clone()].iter().map(|&id| f64::from(id)).collect();
    assert_eq!(tokens, numbers(&expected["tokens"]));

    let Predictions { loss, logsumexp, entropy, top_k, top_ids, top_logits } = shard.predictions().unwrap().unwrap();
    assert_eq!(top_k, 4);
    let labelled = rows.start..rows.end - 1;
    assert!(difference(&loss[labelled], &numbers(&expected["loss"])) < 2e-4);
    assert!(loss[rows.end - 1].is_nan(), "the last token of a sequence predicts nothing");
    assert!(difference(&logsumexp[rows.clone()], &numbers(&expected["logsumexp"])) < 2e-4);
    assert!(difference(&entropy[rows.clone()], &numbers(&expected["entropy"])) < 2e-4);
    let top = rows.start * 4..rows.end * 4;
    let flat = |name: &str| expected[name].as_array().unwrap().iter().flat_map(numbers).collect::<Vec<f64>>();
    let ids: Vec<f64> = top_ids[top.clone()].iter().map(|&id| f64::from(id)).collect();
    assert_eq!(ids, flat("top_ids"));
    assert!(difference(&top_logits[top], &flat("top_logits")) < 2e-4);
}

#[test]
fn the_clean_loss_of_a_bf16_harvest_is_that_of_transformers_in_bf16() {
    let stories = Stories::harvest("--dtype bf16 --logits loss");
    let shard = Cache::open(&stories.cache).unwrap().shard(0).unwrap();
    let loss = shard.predictions().unwrap().unwrap().loss;
    let labelled: Vec<f64> = loss.iter().filter(|loss| !loss.is_nan()).map(|&loss| f64::from(loss)).collect();
    let mean = labelled.iter().sum::<f64>() / labelled.len() as f64;
    let expected = golden()["harvest"]["ce_clean_bf16"].as_f64().unwrap();
    println!("clean loss in bf16 {mean:.6}, transformers' {expected:.6}");
    // Rounding errors average out over 20,783 tokens.
    assert!((mean - expected).abs() < 1e-3, "{mean}, expected {expected}");
}

#[test]
fn the_cache_holds_the_decoders_own_bits() {
    let folder = fixture("stories260K");
    // Kernels with one thread, as in the harvest: with more, sums may have another order.
    let _guard = hayloft_model::become_worker();
    let decoder =
        Decoder::load(&Checkpoint::open(&folder).unwrap(), Portion::Below(3), Dtype::F32, Device::Cpu).unwrap();
    for codec in ["planes", "raw"] {
        let stories = Stories::harvest(&format!("--codec {codec} --logits none"));
        let shard = Cache::open(&stories.cache).unwrap().shard(0).unwrap();
        let activations = shard.activations(&SITE.parse::<SiteName>().unwrap()).unwrap();
        let tokens = shard.tokens().unwrap().token;
        let mut bits = Vec::new();
        activations.read(0, &mut bits).unwrap();

        let group: Vec<&Sequence> = shard.sequences().iter().take_while(|sequence| sequence.row_group == 0).collect();
        let lengths: Vec<usize> = group.iter().map(|sequence| sequence.length as usize).collect();
        let mut rows = Vec::new();
        for step in hayloft_model::steps(&lengths, Device::Cpu) {
            let group = &group[step];
            let longest = i64::from(group[0].length);
            let batch = Tensor::zeros([group.len() as i64, longest], (tch::Kind::Int64, Device::Cpu));
            for (row, sequence) in group.iter().enumerate() {
                let ids = &tokens[sequence.first_row as usize..][..sequence.length as usize];
                let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
                batch.get(row as i64).narrow(0, 0, ids.len() as i64).copy_(&Tensor::from_slice(&ids));
            }
            let start = decoder.embed(&batch).unwrap();
            let stream = decoder.advance(&start, 3, &Positions::from_start(longest as usize)).unwrap().stream;
            let of_row =
                |(row, sequence): (usize, &&Sequence)| stream.get(row as i64).narrow(0, 0, i64::from(sequence.length));
            rows.extend(group.iter().enumerate().map(of_row));
        }
        let expected = Tensor::cat(&rows, 0);
        let got = Tensor::from_data_size(&bits, &expected.size(), tch::Kind::Float);
        assert!(got.equal(&expected), "{codec}");
    }
}
