//! Small caches for tests, made through the public interface alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses some of these")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hayloft_store::{
    Cache, CacheWriter, Codec, Corpus, DataRecord, Dtype, Existing, FileRecord, HarvestSettings, KeptPredictions,
    Manifest, ModelIdentity, ModelRecord, NonFinite, Packing, PlanWriter, Predictions, Result, Section, Sequence,
    ShardWriter, SiteName, TokenizerRecord, Tokens, WrittenShard,
};

/// Lengths of the sequences of each row group of each shard.
pub type Lengths = Vec<Vec<Vec<u32>>>;

/// Three shards of different shapes.
pub fn lengths() -> Lengths {
    vec![vec![vec![9, 8], vec![8, 3, 1]], vec![vec![5], vec![4]], vec![vec![7, 7, 2]]]
}

pub fn site(name: &str) -> SiteName {
    name.parse().unwrap()
}

pub fn two_sites() -> Vec<SiteName> {
    vec![site("blocks.3.hook_resid_pre"), site("blocks.3.hook_resid_post")]
}

pub fn file(path: &str) -> FileRecord {
    FileRecord { path: path.to_owned(), bytes: 3, blake3: "00".repeat(32) }
}

pub fn corpus() -> Corpus {
    Corpus {
        name: "stories".to_owned(),
        tokenizer: TokenizerRecord { blake3: "11".repeat(32), vocab_size: 512, bos_id: 1, bos_text: "<s>".to_owned() },
        data: DataRecord {
            files: vec![file("/data/stories.jsonl")],
            text_field: "text".to_owned(),
            subset_field: Some("meta.pile_set_name".to_owned()),
            max_tokens: None,
            seed: Some(7),
            shuffle_buffer: Some(100),
            documents: 3,
            tokens_field: None,
            skipped_rows: None,
            selection: None,
        },
        chat: None,
        selected_from: Vec::new(),
        packing: Packing::PerDocument,
        context_length: 16,
        row_group_rows: 16,
        shard_tokens: 32,
    }
}

/// The identity of a model whose tensors have the digest `digits`, repeated.
pub fn identity(digits: &str) -> ModelIdentity {
    let facts = [("dtype", "f32"), ("rope_theta", "10000")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    ModelIdentity { facts: facts.into(), tensors_sha256: digits.repeat(32) }
}

pub fn settings(dtype: Dtype, codec: Codec) -> HarvestSettings {
    HarvestSettings {
        model: ModelRecord {
            model_type: "llama".to_owned(),
            identity: Some(identity("22")),
            precision: dtype,
            vocab_size: 512,
            d_model: 5,
            n_blocks: 5,
            context_length: 512,
        },
        sites: two_sites(),
        site_widths: BTreeMap::new(),
        dtype,
        codec,
        predictions: Some(KeptPredictions::top(2)),
    }
}

/// The sequences and tokens of a shard.
pub fn shard_data(lengths: &Lengths, shard: usize) -> (Vec<Sequence>, Tokens) {
    let before: usize = lengths[..shard].iter().flatten().map(Vec::len).sum();
    let mut sequences: Vec<Sequence> = Vec::new();
    let mut tokens = Tokens::default();
    for (row_group, group) in lengths[shard].iter().enumerate() {
        for length in group {
            let id = (before + sequences.len()) as u64;
            let subset: Option<Arc<str>> =
                (!id.is_multiple_of(3)).then(|| Arc::from(if id.is_multiple_of(2) { "ArXiv" } else { "Books" }));
            sequences.push(Sequence {
                id,
                document: 100 + id,
                subset: subset.as_deref().map(str::to_owned),
                first_row: tokens.len() as u64,
                length: *length,
                row_group: row_group as u32,
            });
            for position in 0..*length {
                tokens.sequence.push(id);
                tokens.position.push(position);
                tokens.token.push((id as u32 * 31 + position * 7) % 512);
                tokens.section.push(if position == 0 { Section::Bos } else { Section::Text });
                tokens.document.push(100 + id);
                tokens.subset.push(subset.clone());
            }
        }
    }
    (sequences, tokens)
}

pub fn write_plan(folder: &Path, lengths: &Lengths) {
    let mut writer = PlanWriter::create(folder).unwrap();
    for shard in 0..lengths.len() {
        let (sequences, tokens) = shard_data(lengths, shard);
        writer.add_shard(&sequences, &tokens).unwrap();
    }
    writer.finish(corpus()).unwrap();
}

/// Finite values in the range of a residual stream, the same for the same arguments.
pub fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next() * (8.0 * next()).exp2()).collect()
}

pub fn to_bits(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let word = |value: &f32| match dtype {
        Dtype::F32 => value.to_le_bytes().to_vec(),
        Dtype::Bf16 => half::bf16::from_f32(*value).to_le_bytes().to_vec(),
        Dtype::F16 => half::f16::from_f32(*value).to_le_bytes().to_vec(),
    };
    values.iter().flat_map(word).collect()
}

/// A row group's activations.
pub fn bits(settings: &HarvestSettings, shard: usize, site: &SiteName, row_group: usize, rows: u64) -> Vec<u8> {
    let name: u64 = site.as_str().bytes().map(u64::from).sum();
    let seed = name * 1000 + shard as u64 * 100 + row_group as u64;
    to_bits(settings.dtype, &values(rows as usize * settings.width(site), seed))
}

/// A row group's logits.
pub fn logits(settings: &HarvestSettings, shard: usize, row_group: usize, rows: u64) -> Vec<u8> {
    let seed = 77_000 + shard as u64 * 100 + row_group as u64;
    to_bits(settings.dtype, &values(rows as usize * settings.model.vocab_size, seed))
}

pub fn predictions(settings: &HarvestSettings, sequences: &[Sequence]) -> Option<Predictions> {
    let top_k = settings.predictions?.top_k as usize;
    let rows: usize = sequences.iter().map(|sequence| sequence.length as usize).sum();
    let mut loss = values(rows, 5);
    for sequence in sequences {
        loss[(sequence.first_row + u64::from(sequence.length)) as usize - 1] = f32::NAN;
    }
    Some(Predictions {
        loss,
        logsumexp: values(rows, 6),
        entropy: values(rows, 7),
        top_k,
        top_ids: (0..(rows * top_k) as u32).collect(),
        top_logits: values(rows * top_k, 8),
    })
}

pub fn open(folder: &Path, settings: &HarvestSettings, existing: Existing) -> Result<CacheWriter> {
    CacheWriter::open(folder, settings.clone(), NonFinite::Refuse, existing)
}

pub fn fill_shard(writer: &CacheWriter, index: usize) -> Result<WrittenShard> {
    fill_begun(writer, writer.begin_shard(index)?, 0)
}

/// Fills a shard that has been begun. Each `kind` of hardware makes other bytes of the same shard, as many of them.
pub fn fill_begun(writer: &CacheWriter, mut shard: ShardWriter, kind: usize) -> Result<WrittenShard> {
    let (settings, index) = (writer.settings(), shard.index());
    let (sequences, _) = writer.plan_shard(index)?;
    for (row_group, rows) in shard.row_group_rows().to_vec().into_iter().enumerate() {
        for site in &settings.sites {
            shard.write_activations(site, bits(settings, index + 5000 * kind, site, row_group, rows))?;
        }
        if settings.predictions.is_some_and(|kept| kept.full_logits) {
            shard.write_logits(logits(settings, index, row_group, rows))?;
        }
    }
    shard.finish(predictions(settings, &sequences))
}

/// Fills the shards that are not whole yet.
pub fn fill(mut writer: CacheWriter) -> Result<Manifest> {
    for index in 0..writer.plan().shards.len() {
        if !writer.is_complete(index) {
            let shard = fill_shard(&writer, index)?;
            writer.record(shard)?;
        }
    }
    writer.finish()
}

/// Fills what is left beside others, as a worker on some kind of hardware does, with a pause between two shards and within one, so that there is something
/// to stop.
pub fn work_slowly(mut writer: CacheWriter, kind: usize) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(15);
    let mut queue = writer.queue(0..writer.plan().shards.len())?;
    while let Some(shard) = queue.next(&|| false)? {
        let begun = writer.begin_shard(shard)?;
        thread::sleep(PAUSE);
        let done = fill_begun(&writer, begun, kind)?;
        writer.record(done)?;
        thread::sleep(PAUSE);
    }
    drop(queue);
    writer.finish().map(|_| ())
}

/// Fills what is left beside others, as a worker does, and says which shards it filled.
pub fn work(mut writer: CacheWriter) -> Result<Vec<usize>> {
    let mut queue = writer.queue(0..writer.plan().shards.len())?;
    let mut filled = Vec::new();
    while let Some(shard) = queue.next(&|| false)? {
        let done = fill_shard(&writer, shard)?;
        writer.record(done)?;
        filled.push(shard);
    }
    drop(queue);
    writer.finish()?;
    Ok(filled)
}

/// A whole cache in `folder`.
pub fn harvest(folder: &Path, settings: &HarvestSettings) -> Manifest {
    write_plan(folder, &lengths());
    fill(open(folder, settings, Existing::Refuse).unwrap()).unwrap()
}

/// Every number that can be read from a cache.
#[derive(Debug, PartialEq)]
pub struct Everything {
    pub manifest: Manifest,
    pub shards: Vec<ShardData>,
}

#[derive(Debug, PartialEq)]
pub struct ShardData {
    pub sequences: Vec<Sequence>,
    pub tokens: Tokens,
    /// In words, so that NaN equals itself.
    pub predictions: String,
    pub norms: Vec<Vec<u32>>,
    pub activations: Vec<Vec<Vec<u8>>>,
}

pub fn read_everything(folder: &Path) -> Result<Everything> {
    let cache = Cache::open(folder)?;
    let sites = cache.manifest().settings().sites;
    let mut shards = Vec::new();
    for place in 0..cache.shards() {
        let shard = cache.shard(place)?;
        let mut norms = Vec::new();
        let mut activations = Vec::new();
        for site in &sites {
            norms.push(shard.norms(site)?.into_iter().map(f32::to_bits).collect());
            let reader = shard.activations(site)?;
            let mut groups = Vec::new();
            for row_group in 0..reader.row_groups() {
                let mut bits = Vec::new();
                reader.read(row_group, &mut bits)?;
                groups.push(bits);
            }
            activations.push(groups);
        }
        shards.push(ShardData {
            sequences: shard.sequences().to_vec(),
            tokens: shard.tokens()?,
            predictions: format!("{:?}", shard.predictions()?),
            norms,
            activations,
        });
    }
    Ok(Everything { manifest: cache.manifest().clone(), shards })
}

/// Every file below `folder` but the lock, by its path relative to it.
pub fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(current).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != ".lock" {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}
