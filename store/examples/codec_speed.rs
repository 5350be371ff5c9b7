//! How fast activations are written and read, on this machine: `cargo run --release -p hayloft-store --example
//! codec_speed [THREADS]`. It writes 512 MiB of bf16 activations of a residual stream's shape through each codec into a
//! temporary folder, reads them back, and prints gigabytes of plain words a second.

use std::fs;
use std::io::{self, Write};
use std::time::Instant;

use hayloft_store::{
    Cache, CacheWriter, Codec, Corpus, DataRecord, Dtype, Existing, HarvestSettings, ModelRecord, NonFinite, Packing,
    PlanWriter, Section, Sequence, TokenizerRecord, Tokens,
};

const D_MODEL: usize = 4096;
const ROW_GROUPS: u32 = 16;
const ROWS: u32 = 4096;

fn main() -> anyhow::Result<()> {
    if let Some(threads) = std::env::args().nth(1) {
        rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    }
    let mut stdout = io::stdout().lock();
    let gigabytes = f64::from(ROWS * ROW_GROUPS) * (D_MODEL * 2) as f64 / 1e9;
    let bits = bytes::Bytes::from(residual_stream());
    writeln!(stdout, "{} thread(s), {gigabytes:.2} GB of bf16, d_model {D_MODEL}", rayon::current_num_threads())?;
    for codec in [Codec::Planes, Codec::Raw] {
        let folder = tempfile::tempdir()?;
        plan(&folder)?;
        let settings = settings(codec)?;
        let site = settings.sites[0].clone();
        let mut writer = CacheWriter::open(folder.path(), settings, NonFinite::Refuse, Existing::Refuse)?;
        let mut shard = writer.begin_shard(0)?;
        let start = Instant::now();
        for _ in 0..ROW_GROUPS {
            shard.write_activations(&site, bits.clone())?;
        }
        let written = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let shard = shard.finish(None)?;
        let synced = start.elapsed().as_secs_f64();
        writer.record(shard)?;
        writer.finish()?;

        let cache = Cache::open(folder.path())?;
        let reader = cache.shard(0)?.activations(&site)?;
        let mut read = Vec::new();
        let mut seconds = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            for row_group in 0..reader.row_groups() {
                reader.read(row_group, &mut read)?;
            }
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        anyhow::ensure!(read == bits, "what was read is not what was written");
        let on_disk = fs::metadata(reader.path())?.len() as f64 / 1e9;
        writeln!(
            stdout,
            "{codec:>6}: written at {:.2} GB/s (then {synced:.2} s to finish the shard), read at {:.2} GB/s on one thread, {:.3} times smaller",
            gigabytes / written,
            gigabytes / seconds,
            gigabytes / on_disk,
        )?;
    }
    Ok(())
}

/// A row group of normally distributed values with a scale of its own in each column, as trained models have.
fn residual_stream() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let scales: Vec<f32> = (0..D_MODEL).map(|_| (uniform() * 2.0 - 1.0).exp()).collect();
    (0..ROWS)
        .flat_map(|_| scales.clone())
        // The sum of four uniform variates is close enough to normal for a compressor.
        .map(|scale| scale * (uniform() + uniform() + uniform() + uniform() - 2.0))
        .flat_map(|value| half::bf16::from_f32(value).to_le_bytes())
        .collect()
}

fn plan(folder: &tempfile::TempDir) -> anyhow::Result<()> {
    let sequences: Vec<Sequence> = (0..ROW_GROUPS)
        .map(|index| Sequence {
            id: index.into(),
            document: index.into(),
            subset: None,
            first_row: u64::from(index * ROWS),
            length: ROWS,
            row_group: index,
        })
        .collect();
    let mut tokens = Tokens::default();
    for sequence in &sequences {
        for position in 0..ROWS {
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
            documents: ROW_GROUPS.into(),
            selection: None,
        },
        chat: None,
        packing: Packing::Concat,
        context_length: ROWS,
        row_group_rows: ROWS,
        shard_tokens: u64::from(ROW_GROUPS * ROWS),
    })?;
    Ok(())
}

fn settings(codec: Codec) -> anyhow::Result<HarvestSettings> {
    Ok(HarvestSettings {
        model: ModelRecord {
            model_type: "none".to_owned(),
            config_blake3: String::new(),
            weights: Vec::new(),
            precision: Dtype::Bf16,
            vocab_size: 1,
            d_model: D_MODEL,
            n_blocks: 1,
            context_length: ROWS as usize,
        },
        sites: vec!["blocks.0.hook_resid_pre".parse()?],
        dtype: Dtype::Bf16,
        codec,
        predictions: None,
    })
}
