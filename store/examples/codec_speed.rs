//! How fast activations are written and read, on this machine:
//!
//! ```text
//! cargo run --release -p hayloft-store --example codec_speed -- [--threads N] [--json] [CACHE]
//! ```
//!
//! It writes row groups through each codec into a temporary folder, in memory where the system has `/dev/shm`, and reads
//! them back. They are the first row group of CACHE, or bf16 of a residual stream's shape. All numbers are medians of
//! several repeats, in gigabytes (1e9) of plain words a second:
//!
//! - `planes_encode`, `raw_encode`: `ShardWriter::write_activations`, so statistics, split, compression, checksums, BLAKE3
//!   of the file and the write are in it; waiting for the disk is not.
//! - `planes_decode`: `ActivationReader::read` into memory that was used before, checksums included, from a file that the
//!   system has in memory.
//! - `raw`: `ActivationReader::view`, that is, the checksum of bytes that stay where they are. Without it a view costs
//!   nothing.
//! - `raw_copy`: `ActivationReader::read` of `raw`: a checksum and a copy.
//! - `checksum_share`: what XXH3 takes over the bytes of both planes, of the time of `planes_decode`: exponents in the
//!   cache, as they are when they were just decompressed, and mantissas from memory.
//! - `bytes_ratio`: plain bytes of a file of `planes` to its size.

use std::collections::BTreeMap;
use std::fs;
use std::hash::Hasher;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use hayloft_store::{
    ActivationReader, Cache, CacheWriter, Codec, Corpus, DataRecord, Dtype, Existing, HarvestSettings, ModelRecord,
    NonFinite, Packing, PlanWriter, Section, Sequence, TokenizerRecord, Tokens,
};
use tempfile::TempDir;
use twox_hash::XxHash3_64;

const REPEATS: usize = 5;

/// About what is written and read at a time: more than the processor's caches hold.
const BYTES: usize = 256 << 20;

/// Bytes that are hashed at a time, as many as a page has.
const PIECE: usize = 256 << 10;

const D_MODEL: usize = 4096;
const ROWS: u32 = 4096;

/// A row group, which is written over and over.
struct Sample {
    dtype: Dtype,
    d_model: usize,
    rows: u32,
    bits: Bytes,
}

impl Sample {
    fn row_groups(&self) -> u32 {
        (BYTES / self.bits.len()).clamp(1, 512) as u32
    }

    fn gigabytes(&self) -> f64 {
        f64::from(self.row_groups()) * self.bits.len() as f64 / 1e9
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut json, mut cache) = (false, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--threads" => {
                let threads = arguments.next().unwrap_or_default().parse()?;
                rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
            }
            folder => cache = Some(folder.to_owned()),
        }
    }
    let sample = cache.map_or_else(|| Ok(residual_stream()), |cache| first_row_group(Path::new(&cache)))?;
    let gigabytes = sample.gigabytes();

    let (planes_encode, planes) = write(&sample, Codec::PLANES)?;
    let (raw_encode, raw) = write(&sample, Codec::RAW)?;
    let planes = open(&planes)?;
    let raw = open(&raw)?;
    let mut read = Vec::new();
    planes.read(0, &mut read)?;
    anyhow::ensure!(read == sample.bits, "what was read is not what was written");
    let planes_decode = each_row_group(&planes, |row_group| planes.read(row_group, &mut read))?;
    let raw_copy = each_row_group(&raw, |row_group| raw.read(row_group, &mut read))?;
    let raw_view = each_row_group(&raw, |row_group| raw.view(row_group).map(|view| drop(black_box(view))))?;
    let file = fs::read(raw.path())?;
    let checksum = each_row_group(&raw, |row_group| {
        let start = row_group * sample.bits.len();
        hash_planes(sample.dtype, &file[start..start + sample.bits.len()]);
        Ok(())
    })?;
    let plain_bytes = sample.bits.len() as f64 * f64::from(sample.row_groups());
    let numbers = [
        ("threads", rayon::current_num_threads() as f64),
        ("planes_encode_gb_per_s", gigabytes / planes_encode),
        ("planes_decode_gb_per_s", gigabytes / planes_decode),
        ("raw_gb_per_s", gigabytes / raw_view),
        ("raw_copy_gb_per_s", gigabytes / raw_copy),
        ("raw_encode_gb_per_s", gigabytes / raw_encode),
        ("checksum_share", checksum / planes_decode),
        ("bytes_ratio", plain_bytes / fs::metadata(planes.path())?.len() as f64),
        ("d_model", sample.d_model as f64),
    ];
    let mut stdout = io::stdout().lock();
    if json {
        let object: serde_json::Map<String, serde_json::Value> =
            numbers.into_iter().map(|(name, number)| (name.to_owned(), in_json(number))).collect();
        writeln!(stdout, "{}", serde_json::Value::Object(object))?;
    } else {
        for (name, number) in numbers {
            writeln!(stdout, "{name:<24} {number:.3}")?;
        }
    }
    Ok(())
}

/// Whole numbers without a point.
fn in_json(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 { (number as u64).into() } else { number.into() }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Writes the sample often enough, several times. Gives the median of the seconds and the last cache.
fn write(sample: &Sample, codec: Codec) -> anyhow::Result<(f64, TempDir)> {
    let mut seconds = Vec::new();
    loop {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        plan(&folder, sample)?;
        let settings = settings(sample, codec)?;
        let site = settings.sites[0].clone();
        let mut writer = CacheWriter::open(folder.path(), settings, NonFinite::Allow, Existing::Refuse)?;
        let mut shard = writer.begin_shard(0)?;
        let start = Instant::now();
        for _ in 0..sample.row_groups() {
            shard.write_activations(&site, sample.bits.clone())?;
        }
        seconds.push(start.elapsed().as_secs_f64());
        if seconds.len() == REPEATS {
            writer.record(shard.finish(None)?)?;
            writer.finish()?;
            return Ok((median(seconds), folder));
        }
    }
}

fn open(folder: &TempDir) -> anyhow::Result<ActivationReader> {
    let cache = Cache::open(folder.path())?;
    Ok(cache.shard(0)?.activations(&cache.manifest().sites[0].name)?)
}

/// The median of the seconds that `work` takes for all row groups.
fn each_row_group(
    reader: &ActivationReader,
    mut work: impl FnMut(usize) -> hayloft_store::Result<()>,
) -> anyhow::Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..=REPEATS {
        let start = Instant::now();
        for row_group in 0..reader.row_groups() {
            work(row_group)?;
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    // In the first one the file's pages come into the map.
    Ok(median(seconds.split_off(1)))
}

fn first_row_group(folder: &Path) -> anyhow::Result<Sample> {
    let cache = Cache::open(folder)?;
    let reader = cache.shard(0)?.activations(&cache.manifest().sites[0].name)?;
    let mut bits = Vec::new();
    reader.read(0, &mut bits)?;
    let (dtype, d_model, rows) = (reader.dtype(), reader.d_model(), u32::try_from(reader.rows(0))?);
    Ok(Sample { dtype, d_model, rows, bits: bits.into() })
}

/// Hashes as many bytes as the two planes of `words` have, those of the exponents in the cache.
fn hash_planes(dtype: Dtype, words: &[u8]) {
    let mut hashers = [XxHash3_64::new(), XxHash3_64::new()];
    let exponents = words.len() / dtype.bytes();
    for piece in words[exponents..].chunks(PIECE) {
        hashers[0].write(piece);
    }
    for _ in 0..exponents / PIECE {
        hashers[1].write(&words[..PIECE]);
    }
    black_box(hashers.map(|hasher| hasher.finish()));
}

/// A row group of normally distributed values with another scale in each column, as trained models have.
fn residual_stream() -> Sample {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let scales: Vec<f32> = (0..D_MODEL).map(|_| (uniform() * 2.0 - 1.0).exp()).collect();
    let bits: Vec<u8> = (0..ROWS)
        .flat_map(|_| scales.clone())
        // The sum of four uniform variates is close enough to normal for a compressor.
        .map(|scale| scale * (uniform() + uniform() + uniform() + uniform() - 2.0))
        .flat_map(|value| half::bf16::from_f32(value).to_le_bytes())
        .collect();
    Sample { dtype: Dtype::Bf16, d_model: D_MODEL, rows: ROWS, bits: bits.into() }
}

fn plan(folder: &TempDir, sample: &Sample) -> anyhow::Result<()> {
    let (rows, row_groups) = (sample.rows, sample.row_groups());
    let sequences: Vec<Sequence> = (0..row_groups)
        .map(|index| Sequence {
            id: index.into(),
            document: index.into(),
            subset: None,
            first_row: u64::from(index * rows),
            length: rows,
            row_group: index,
        })
        .collect();
    let mut tokens = Tokens::default();
    for sequence in &sequences {
        for position in 0..rows {
            tokens.sequence.push(sequence.id);
            tokens.position.push(position);
            tokens.token.push(position);
            tokens.section.push(Section::Text);
            tokens.document.push(sequence.document);
            tokens.subset.push(None);
        }
    }
    let mut writer = PlanWriter::create(folder.path())?;
    writer.add_shard(&sequences, &tokens)?;
    writer.finish(Corpus {
        name: "speed".to_owned(),
        tokenizer: TokenizerRecord { blake3: String::new(), vocab_size: 1, bos_id: 0, bos_text: String::new() },
        data: DataRecord {
            files: Vec::new(),
            text_field: "text".to_owned(),
            subset_field: None,
            max_tokens: None,
            seed: None,
            shuffle_buffer: None,
            documents: row_groups.into(),
            tokens_field: None,
            skipped_rows: None,
            selection: None,
        },
        chat: None,
        selected_from: Vec::new(),
        packing: Packing::Concat,
        context_length: rows,
        row_group_rows: rows,
        shard_tokens: u64::from(row_groups * rows),
    })?;
    Ok(())
}

fn settings(sample: &Sample, codec: Codec) -> anyhow::Result<HarvestSettings> {
    Ok(HarvestSettings {
        model: ModelRecord {
            model_type: "none".to_owned(),
            identity: None,
            precision: sample.dtype,
            vocab_size: 1,
            d_model: sample.d_model,
            n_blocks: 1,
            context_length: sample.rows as usize,
        },
        sites: vec!["blocks.0.hook_resid_pre".parse()?],
        site_widths: BTreeMap::new(),
        dtype: sample.dtype,
        codec,
        predictions: None,
    })
}
