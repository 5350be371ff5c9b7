//! Is a large cache as quick to open as a small one, and one sequence of it as quick to read? Makes two in FOLDER, and says.
//!
//! ```text
//! cargo run --release -p hayloft-store --example large_cache -- FOLDER [--json]
//! ```
//!
//! - `open_seconds`, `inspect_seconds`: [`Cache::open`] and [`inspect`] of a cache of 10,000 shards.
//! - `walk_peak_mb`, `half_walk_peak_mb`: the most memory that this process held while it opened every shard of it, and
//!   while it opened the first half.
//! - `sequence_ms`: one sequence of 512 tokens, drawn at random from a cache of 10 GB, read and checked, with its shard open
//!   and the file in the system's memory: the median and the slowest of 200.
//! - `cold_sequence_ms`: the same with its shard looked up and opened each time, median.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use hayloft_store::{
    Cache, CacheWriter, Codec, Corpus, DataRecord, Dtype, Existing, HarvestSettings, ModelRecord, NonFinite, Packing,
    PlanWriter, Section, Sequence, TokenizerRecord, Tokens, inspect,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const SMALL_SHARDS: usize = 10_000;
const LARGE_SHARDS: usize = 10;
const LARGE_ROW_GROUPS: u32 = 45;
const ROW_GROUP_ROWS: u32 = 4096;
const LENGTH: u32 = 512;
const WIDE: usize = 4096;
const READS: usize = 200;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut json, mut folder) = (false, None);
    for argument in &mut arguments {
        if argument == "--json" { json = true } else { folder = Some(argument) }
    }
    let folder = folder.context("a folder with 11 GB of space is wanted")?;
    let (many, large) = (Path::new(&folder).join("many-shards"), Path::new(&folder).join("large"));
    if !many.join("manifest.json").exists() {
        eprintln!("making {SMALL_SHARDS} small shards");
        make(&many, SMALL_SHARDS, 1, 8, 4, 16)?;
    }
    if !large.join("manifest.json").exists() {
        eprintln!("making {LARGE_SHARDS} shards of a gigabyte");
        make(&large, LARGE_SHARDS, LARGE_ROW_GROUPS, ROW_GROUP_ROWS, LENGTH, WIDE)?;
    }
    let figures = [opening(&many)?, reading(&large)?].concat();
    let mut stdout = std::io::stdout().lock();
    if json {
        let object: serde_json::Map<_, _> =
            figures.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        writeln!(stdout, "{}", serde_json::Value::Object(object))?;
    } else {
        for (name, value) in figures {
            writeln!(stdout, "{name:>20}  {value:.4}")?;
        }
    }
    Ok(())
}

type Figures = Vec<(&'static str, f64)>;

fn opening(folder: &Path) -> anyhow::Result<Figures> {
    let start = Instant::now();
    let cache = Cache::open(folder)?;
    let open = start.elapsed().as_secs_f64();
    ensure!(cache.shards() == SMALL_SHARDS, "{} shards, {SMALL_SHARDS} expected", cache.shards());
    let start = Instant::now();
    let summary = inspect(folder)?;
    let inspected = start.elapsed().as_secs_f64();
    drop(summary);
    let walk = |places: std::ops::Range<usize>| -> anyhow::Result<()> {
        for place in places {
            let shard = cache.shard(place)?;
            let reader = shard.activations(&cache.manifest().sites[0].name)?;
            reader.read(0, &mut Vec::new())?;
        }
        Ok(())
    };
    walk(0..SMALL_SHARDS / 2)?;
    let half = peak_megabytes()?;
    walk(SMALL_SHARDS / 2..SMALL_SHARDS)?;
    Ok(vec![
        ("open_seconds", open),
        ("inspect_seconds", inspected),
        ("half_walk_peak_mb", half),
        ("walk_peak_mb", peak_megabytes()?),
    ])
}

fn reading(folder: &Path) -> anyhow::Result<Figures> {
    let cache = Cache::open(folder)?;
    let bytes: u64 = cache.manifest().shards.iter().flat_map(|shard| &shard.files).map(|file| file.bytes).sum();
    let site = cache.manifest().sites[0].name.clone();
    let shards: Vec<_> = (0..cache.shards()).map(|place| cache.shard(place)).collect::<Result<_, _>>()?;
    let readers: Vec<_> = shards.iter().map(|shard| shard.activations(&site)).collect::<Result<_, _>>()?;
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut words = Vec::new();
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    for _ in 0..READS {
        let place = random.random_range(0..shards.len());
        let sequence = &shards[place].sequences()[random.random_range(0..shards[place].sequences().len())];
        readers[place].read_sequence(sequence, &mut words)?; // brings it into memory
        let start = Instant::now();
        readers[place].read_sequence(sequence, &mut words)?;
        warm.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let (shard, index) = cache.find_sequence(sequence.id)?.context("the sequence is there")?;
        shard.activations(&site)?.read_sequence(&shard.sequences()[index], &mut words)?;
        cold.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(words.len() == LENGTH as usize * WIDE * 2, "{} bytes", words.len());
    }
    warm.sort_by(f64::total_cmp);
    cold.sort_by(f64::total_cmp);
    Ok(vec![
        ("large_cache_gb", bytes as f64 / 1e9),
        ("sequence_ms", warm[READS / 2]),
        ("slowest_sequence_ms", warm[READS - 1]),
        ("cold_sequence_ms", cold[READS / 2]),
    ])
}

/// The most memory that this process has held, in megabytes.
fn peak_megabytes() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
}

/// A cache of `shards` shards, each of `row_groups` row groups of `rows` rows of `d_model` bf16, in sequences of `length`.
fn make(folder: &Path, shards: usize, row_groups: u32, rows: u32, length: u32, d_model: usize) -> anyhow::Result<()> {
    let mut plan = PlanWriter::create(folder)?;
    let per_group = rows / length;
    for shard in 0..shards as u64 {
        let count = u64::from(row_groups * per_group);
        let sequences: Vec<Sequence> = (0..count)
            .map(|index| Sequence {
                id: shard * count + index,
                document: shard * count + index,
                subset: None,
                first_row: index * u64::from(length),
                length,
                row_group: (index / u64::from(per_group)) as u32,
            })
            .collect();
        let mut tokens = Tokens::default();
        for sequence in &sequences {
            for position in 0..length {
                tokens.sequence.push(sequence.id);
                tokens.position.push(position);
                tokens.token.push(position);
                tokens.section.push(if position == 0 { Section::Bos } else { Section::Text });
                tokens.document.push(sequence.document);
                tokens.subset.push(None);
            }
        }
        plan.add_shard(&sequences, &tokens)?;
    }
    plan.finish(corpus(length, rows))?;
    let mut writer = CacheWriter::open(folder, settings(d_model)?, NonFinite::Refuse, Existing::Refuse)?;
    let site = writer.settings().sites[0].clone();
    let bits = residual_stream(rows as usize * d_model);
    for index in 0..shards {
        let mut shard = writer.begin_shard(index)?;
        for _ in 0..row_groups {
            shard.write_activations(&site, bits.clone())?;
        }
        let shard = shard.finish(None)?;
        writer.record(shard)?;
    }
    writer.finish()?;
    Ok(())
}

/// Words whose exponents are spread as those of a residual stream are: sums of uniform numbers, times a few scales.
fn residual_stream(words: usize) -> Bytes {
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut bits = Vec::with_capacity(words * 2);
    for word in 0..words {
        let normal = (0..4).map(|_| random.random::<f32>() - 0.5).sum::<f32>();
        let scale = if word % 64 == 0 { 8.0 } else { 1.0 };
        bits.extend_from_slice(&half::bf16::from_f32(normal * scale).to_le_bytes());
    }
    bits.into()
}

fn corpus(context_length: u32, row_group_rows: u32) -> Corpus {
    let tokenizer = TokenizerRecord { blake3: "11".repeat(32), vocab_size: 512, bos_id: 1, bos_text: "<s>".to_owned() };
    let data = DataRecord {
        files: Vec::new(),
        text_field: "text".to_owned(),
        subset_field: None,
        max_tokens: None,
        seed: None,
        shuffle_buffer: None,
        documents: 1,
        tokens_field: None,
        skipped_rows: None,
        selection: None,
    };
    Corpus {
        name: "made up".to_owned(),
        tokenizer,
        data,
        chat: None,
        selected_from: Vec::new(),
        packing: Packing::Concat,
        context_length,
        row_group_rows,
        shard_tokens: 1 << 20,
    }
}

fn settings(d_model: usize) -> anyhow::Result<HarvestSettings> {
    Ok(HarvestSettings {
        model: ModelRecord {
            model_type: "llama".to_owned(),
            identity: None,
            precision: Dtype::Bf16,
            vocab_size: 512,
            d_model,
            n_blocks: 5,
            context_length: 4096,
        },
        sites: vec!["blocks.3.hook_resid_pre".parse()?],
        site_widths: BTreeMap::new(),
        dtype: Dtype::Bf16,
        codec: Codec::PLANES,
        predictions: None,
    })
}
