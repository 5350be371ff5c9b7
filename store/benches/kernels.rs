//! The loops that the store's speed depends on: `cargo bench -p hayloft-store --features bench`. A row group is 4096 rows;
//! rates are in plain words. What a whole shard takes, files included, is for `examples/codec_speed.rs`.
#![allow(missing_docs, reason = "the macros of the benches make functions")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use hayloft_store::{ActivationReader, Cache, CacheWriter, Codec, Dtype, Existing, NonFinite, kernels};

#[path = "../tests/support/mod.rs"]
mod support;

const ROWS: usize = 4096;
const WIDTHS: [usize; 2] = [512, 4096];
const DTYPES: [Dtype; 2] = [Dtype::Bf16, Dtype::F32];

fn main() {
    divan::main();
}

/// A page: what is in a core's cache when it is split and merged.
fn page(dtype: Dtype) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let elements = 256 << 10;
    let words = support::to_bits(dtype, &support::values(elements, 1));
    (words, vec![0; elements], vec![0; elements * (dtype.bytes() - 1)])
}

fn row_group(d_model: usize) -> Bytes {
    support::to_bits(Dtype::Bf16, &support::values(ROWS * d_model, 1)).into()
}

#[divan::bench(args = DTYPES)]
fn split(bencher: Bencher<'_, '_>, dtype: Dtype) {
    let (words, mut exponent, mut mantissa) = page(dtype);
    let bencher = bencher.counter(BytesCount::of_slice(&words));
    bencher.bench_local(|| kernels::split(dtype, &words, &mut exponent, &mut mantissa));
}

#[divan::bench(args = DTYPES)]
fn merge(bencher: Bencher<'_, '_>, dtype: Dtype) {
    let (mut words, exponent, mantissa) = page(dtype);
    let bencher = bencher.counter(BytesCount::of_slice(&words));
    bencher.bench_local(|| kernels::merge(dtype, &exponent, &mantissa, &mut words));
}

#[divan::bench(args = WIDTHS)]
fn measure(bencher: Bencher<'_, '_>, d_model: usize) {
    let words = row_group(d_model);
    bencher.counter(BytesCount::of_slice(&words)).bench_local(|| kernels::measure(Dtype::Bf16, d_model, &words));
}

#[divan::bench(args = WIDTHS)]
fn xxh3(bencher: Bencher<'_, '_>, d_model: usize) {
    let words = row_group(d_model);
    bencher.counter(BytesCount::of_slice(&words)).bench_local(|| kernels::xxh3(&words));
}

#[divan::bench(args = WIDTHS)]
fn encode_planes(bencher: Bencher<'_, '_>, d_model: usize) {
    let words = row_group(d_model);
    let mut encoder = kernels::Encoder::default();
    let bencher = bencher.counter(BytesCount::of_slice(&words));
    bencher.bench_local(|| encoder.encode(Codec::PLANES, Dtype::Bf16, d_model, &words).unwrap());
}

#[divan::bench(args = WIDTHS)]
fn read_planes(bencher: Bencher<'_, '_>, d_model: usize) {
    read(bencher, Codec::PLANES, d_model, |reader, into| reader.read(0, into).unwrap());
}

#[divan::bench(args = WIDTHS)]
fn read_raw(bencher: Bencher<'_, '_>, d_model: usize) {
    read(bencher, Codec::RAW, d_model, |reader, into| reader.read(0, into).unwrap());
}

#[divan::bench(args = WIDTHS)]
fn view_raw(bencher: Bencher<'_, '_>, d_model: usize) {
    read(bencher, Codec::RAW, d_model, |reader, _| drop(reader.view(0).unwrap()));
}

fn read(bencher: Bencher<'_, '_>, codec: Codec, d_model: usize, read: impl Fn(&ActivationReader, &mut Vec<u8>)) {
    let folder = tempfile::tempdir().unwrap();
    let words = row_group(d_model);
    support::write_plan(folder.path(), &vec![vec![vec![ROWS as u32]]]);
    let mut settings = support::settings(Dtype::Bf16, codec);
    settings.sites.truncate(1);
    settings.predictions = None;
    settings.model.d_model = d_model;
    let site = settings.sites[0].clone();
    let mut writer = CacheWriter::open(folder.path(), settings, NonFinite::Refuse, Existing::Refuse).unwrap();
    let mut shard = writer.begin_shard(0).unwrap();
    shard.write_activations(&site, words.clone()).unwrap();
    writer.record(shard.finish(None).unwrap()).unwrap();
    writer.finish().unwrap();
    let reader = Cache::open(folder.path()).unwrap().shard(0).unwrap().activations(&site).unwrap();
    let mut into = Vec::new();
    bencher.counter(BytesCount::of_slice(&words)).bench_local(|| read(&reader, &mut into));
}
