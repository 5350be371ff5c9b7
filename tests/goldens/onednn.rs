//! On a CPU, bf16 must use oneDNN's bf16 kernels: LibTorch's fall-back is ten times slower.

use std::process::Command;

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{Decoder, Portion, Positions, no_grad};
use hayloft_runtime::Dtype;
use tch::{Device, Kind, Tensor};

use crate::support::fixture;

/// The test that the outer one runs in its own process, where oneDNN tells what it runs.
const FORWARD: &str = "goldens::onednn::a_bf16_forward_pass_runs";

#[test]
fn a_bf16_forward_pass_runs() {
    let _guard = no_grad();
    let checkpoint = Checkpoint::open(&fixture("decoder/llama2")).unwrap();
    let decoder = Decoder::load(&checkpoint, Portion::Whole, Dtype::Bf16, Device::Cpu).unwrap();
    let tokens = Tensor::randint(decoder.spec().vocab_size as i64, [4, 40], (Kind::Int64, Device::Cpu));
    let positions = Positions::from_start(40);
    let end = decoder.advance(&decoder.embed(&tokens).unwrap(), decoder.spec().n_blocks, &positions).unwrap();
    assert_eq!(decoder.logits(&end).unwrap().kind(), Kind::BFloat16);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn bf16_products_go_through_onednn_where_it_has_kernels() {
    // It has them only for AVX-512 and later.
    let has_kernels = std::is_x86_feature_detected!("avx512bw");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", FORWARD, "--nocapture"])
        .env("ONEDNN_VERBOSE", "1")
        .output()
        .unwrap();
    assert!(run.status.success());
    let verbose = String::from_utf8_lossy(&run.stdout);
    let products: Vec<&str> = verbose
        .lines()
        .filter(|line| line.contains("exec,cpu,matmul") || line.contains("exec,cpu,inner_product"))
        .collect();
    let in_bf16 = products.iter().filter(|line| line.contains("src:bf16") || line.contains("src_bf16")).count();
    println!("{in_bf16} of {} products in bf16; AVX-512 {has_kernels}", products.len());
    // Seven products a block and one at the end, at least.
    assert!(in_bf16 >= 8 || !has_kernels, "{in_bf16} of {} products in bf16:\n{verbose}", products.len());
}
