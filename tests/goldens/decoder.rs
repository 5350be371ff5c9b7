//! Every family and configuration compared with transformers: the residual at every block, the logits, and the
//! invariants of stopping and resuming. `scripts/goldens/decoder.py` makes the checkpoints and goldens.

use std::path::{Path, PathBuf};

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{Decoder, Portion, Positions, Residual, no_grad};
use hayloft_runtime::Dtype;
use tch::{Device, Kind, Tensor};

use crate::support::{Golden, fixture, max_difference};

const CPU: Device = Device::Cpu;

/// Largest difference of a float32 logit or residual from transformers.
const TOLERANCE_F32: f64 = 2e-4;

/// Checkpoints saved in float32, each with a golden beside it.
pub(super) fn float32_checkpoints() -> Vec<PathBuf> {
    checkpoints().filter(|folder| Checkpoint::open(folder).unwrap().precision() == Dtype::F32).collect()
}

fn checkpoints() -> impl Iterator<Item = PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(fixture("decoder")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 10, "the fixtures are incomplete: {folders:?}");
    folders.into_iter()
}

fn load(folder: &Path, portion: Portion) -> Decoder {
    let checkpoint = Checkpoint::open(folder).unwrap();
    Decoder::load(&checkpoint, portion, checkpoint.precision(), CPU).unwrap()
}

fn golden(folder: &Path) -> (Golden, Tensor, Positions<'static>) {
    let golden = Golden::open(&folder.join("golden.safetensors"));
    let tokens = golden.tensor("tokens");
    let positions = Positions::from_start(tokens.size()[1] as usize);
    (golden, tokens, positions)
}

#[test]
fn residuals_and_logits_agree_with_transformers_in_f32() {
    let _guard = no_grad();
    for folder in float32_checkpoints() {
        let decoder = load(&folder, Portion::Whole);
        let (golden, tokens, positions) = golden(&folder);
        let mut residual = decoder.embed(&tokens).unwrap();
        let mut worst: f64 = 0.0;
        for block in 0..=decoder.spec().n_blocks {
            residual = decoder.advance(&residual, block, &positions).unwrap();
            let difference = max_difference(&residual.stream, &golden.tensor(&format!("residual.{block}")));
            assert!(difference < TOLERANCE_F32, "{}: residual {block} differs by {difference}", folder.display());
            worst = worst.max(difference);
        }
        let difference = max_difference(&decoder.logits(&residual).unwrap(), &golden.tensor("logits"));
        assert!(difference < TOLERANCE_F32, "{}: logits differ by {difference}", folder.display());
        println!(
            "{:32} residuals within {worst:.1e}, logits within {difference:.1e}",
            folder.file_name().unwrap().display()
        );
    }
}

/// In bf16 two implementations diverge as soon as they round in another order. The test therefore requires that the
/// embedding is the same to the bit, with its scale rounded as in training, and that the logits are as near to a
/// float32 run of the same weights as transformers' bf16 logits are.
#[test]
fn bf16_is_as_exact_as_transformers_bf16() {
    let _guard = no_grad();
    let root_mean_square = |left: &Tensor, right: &Tensor| {
        (left.to_kind(Kind::Double) - right.to_kind(Kind::Double)).square().mean(Kind::Double).sqrt().double_value(&[])
    };
    let mut seen = 0;
    for folder in checkpoints() {
        let checkpoint = Checkpoint::open(&folder).unwrap();
        if checkpoint.precision() != Dtype::Bf16 {
            continue;
        }
        seen += 1;
        let (golden, tokens, positions) = golden(&folder);
        let run = |precision| {
            let decoder = Decoder::load(&checkpoint, Portion::Whole, precision, CPU).unwrap();
            let start = decoder.embed(&tokens).unwrap();
            let end = decoder.advance(&start, decoder.spec().n_blocks, &positions).unwrap();
            (start.stream, decoder.logits(&end).unwrap())
        };
        let (start, logits) = run(Dtype::Bf16);
        assert!(start.to_kind(Kind::Float).equal(&golden.tensor("residual.0")), "{}: embedding", folder.display());
        let (_, exact) = run(Dtype::F32);
        let ours = root_mean_square(&logits, &exact);
        let theirs = root_mean_square(&golden.tensor("logits"), &exact);
        println!("{:32} bf16 error {ours:.4}, transformers' {theirs:.4}", folder.file_name().unwrap().display());
        assert!(ours < 1.5 * theirs, "{}: error {ours}, transformers' {theirs}", folder.display());
    }
    assert!(seen >= 2, "expected checkpoints in bfloat16 among the fixtures");
}

#[test]
fn advancing_in_steps_equals_advancing_at_once_bit_for_bit() {
    let _guard = no_grad();
    for folder in checkpoints() {
        let decoder = load(&folder, Portion::Whole);
        let (_, tokens, positions) = golden(&folder);
        let end = decoder.spec().n_blocks;
        let start = decoder.embed(&tokens).unwrap();
        let at_once = decoder.advance(&start, end, &positions).unwrap();
        for stop in 0..=end {
            let halfway = decoder.advance(&start, stop, &positions).unwrap();
            let in_steps = decoder.advance(&halfway, end, &positions).unwrap();
            assert!(in_steps.stream.equal(&at_once.stream), "{}: stopped at {stop}", folder.display());
        }
    }
}

#[test]
fn an_unchanged_residual_put_back_into_the_upper_half_gives_identical_logits() {
    let _guard = no_grad();
    for folder in checkpoints() {
        let whole = load(&folder, Portion::Whole);
        let (_, tokens, positions) = golden(&folder);
        let end = whole.spec().n_blocks;
        let expected = whole.logits(&whole.advance(&whole.embed(&tokens).unwrap(), end, &positions).unwrap()).unwrap();
        for block in 0..=end {
            let below = load(&folder, Portion::Below(block));
            let stored = below.advance(&below.embed(&tokens).unwrap(), block, &positions).unwrap().stream;
            let above = load(&folder, Portion::From(block));
            let resumed = above.advance(&Residual { stream: stored, block }, end, &positions).unwrap();
            assert!(above.logits(&resumed).unwrap().equal(&expected), "{}: block {block}", folder.display());
        }
    }
}

#[test]
fn right_padding_changes_nothing_before_it() {
    let _guard = no_grad();
    for folder in float32_checkpoints() {
        let decoder = load(&folder, Portion::Whole);
        let (_, tokens, positions) = golden(&folder);
        let run = |tokens: &Tensor, positions: &Positions| {
            let end = decoder.advance(&decoder.embed(tokens).unwrap(), decoder.spec().n_blocks, positions).unwrap();
            decoder.logits(&end).unwrap()
        };
        let padded = run(&tokens, &positions);
        let short = positions.length() as i64 - 5;
        let alone = run(&tokens.narrow(0, 0, 1).narrow(1, 0, short), &Positions::from_start(short as usize));
        let difference = max_difference(&padded.narrow(0, 0, 1).narrow(1, 0, short), &alone);
        assert!(difference < 1e-4, "{}: {difference}", folder.display());
    }
}

#[test]
fn predictions_agree_with_a_log_softmax_in_f64() {
    let _guard = no_grad();
    for folder in float32_checkpoints() {
        let decoder = load(&folder, Portion::Whole);
        let (golden, tokens, positions) = golden(&folder);
        let end = decoder.advance(&decoder.embed(&tokens).unwrap(), decoder.spec().n_blocks, &positions).unwrap();
        let width = decoder.spec().d_model as i64;
        let rows = end.stream.narrow(1, 0, positions.length() as i64 - 1).reshape([-1, width]);
        let labels = tokens.narrow(1, 1, positions.length() as i64 - 1).reshape([-1]);

        let logits = golden.tensor("logits").to_kind(Kind::Double);
        let logits = logits.narrow(1, 0, positions.length() as i64 - 1).reshape([labels.size()[0], -1]);
        let log_probabilities = logits.log_softmax(-1, Kind::Double);
        let loss = -log_probabilities.gather(-1, &labels.unsqueeze(-1), false).squeeze_dim(-1);
        let entropy = -(log_probabilities.exp() * &log_probabilities).sum_dim_intlist(-1, false, Kind::Double);

        let labels = Vec::<i64>::try_from(labels).unwrap();
        let got = decoder.predictions(&rows, &labels, 3).unwrap();
        let near = |got: &[f32], expected: &Tensor| {
            max_difference(&Tensor::from_slice(got), &expected.reshape([-1])) < TOLERANCE_F32
        };
        assert!(near(&got.loss, &loss));
        assert!(near(&got.loss, &Tensor::from_slice(&decoder.losses(&rows, &labels).unwrap())));
        assert!(near(&got.entropy, &entropy));
        assert!(near(&got.logsumexp, &logits.logsumexp(-1, false)));
        let (top_logits, top_ids) = logits.topk(3, -1, true, true);
        assert!(near(&got.top_logits, &top_logits));
        let top_ids: Vec<i64> = Vec::try_from(top_ids.reshape([-1])).unwrap();
        assert!(got.top_ids.iter().map(|&id| i64::from(id)).eq(top_ids), "{}", folder.display());
        let unlabelled = decoder.predictions(&rows, &vec![-1; labels.len()], 0).unwrap();
        assert!(unlabelled.loss.iter().all(|loss| loss.is_nan()) && unlabelled.top_ids.is_empty());
        let outside = decoder.losses(&rows, &vec![decoder.spec().vocab_size as i64; labels.len()]);
        assert!(outside.unwrap_err().to_string().contains("labels"));
    }
}
