//! A small cache, written through the store's public interface.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hayloft_store::{
    CacheWriter, Codec, Corpus, DataRecord, Dtype, Existing, FORMAT_VERSION, FileRecord, HarvestSettings,
    KeptPredictions, ModelIdentity, ModelRecord, NonFinite, Packing, PlanWriter, Predictions, Section, Sequence,
    SiteName, TokenizerRecord, Tokens,
};

use super::Seed;

/// Lengths of the sequences of each row group; the same in each shard.
const LENGTHS: [&[u32]; 2] = [&[9, 8], &[8, 3, 1]];
const SHARDS: usize = 2;
const D_MODEL: usize = 5;
/// Largest logits that are kept.
pub(crate) const TOP_K: u32 = 2;

/// The site.
pub(crate) fn site() -> SiteName {
    "blocks.3.hook_resid_pre".parse().expect("a site's name")
}

/// Writes the cache.
pub(crate) fn write(folder: &Path) {
    write_as(folder, Dtype::Bf16, Codec::PLANES);
}

/// The bytes of its manifest.
pub(crate) fn manifest() -> Vec<u8> {
    let folder = crate::guarded::scratch::folder("pristine cache", write);
    fs::read(folder.join("manifest.json")).expect("a manifest")
}

/// The sequences of its first shard.
pub(crate) fn sequences_of_seed() -> Vec<Sequence> {
    shard(0).0
}

/// Each file of a cache as a seed of its target.
pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (dtype, codec) in [
        (Dtype::Bf16, Codec::PLANES),
        (Dtype::F32, Codec::PLANES),
        (Dtype::F16, Codec::RAW),
        (Dtype::Bf16, Codec::INT8),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_as(folder.path(), dtype, codec);
        let mut add = |target, file: &str| {
            let bytes = fs::read(folder.path().join(file)).expect("a file of the cache");
            seeds.push((target, format!("format-{FORMAT_VERSION}-{dtype}-{codec}"), bytes));
        };
        add("activations", &format!("shards/00000/{}.parquet", site()));
        if codec == Codec::PLANES && dtype == Dtype::Bf16 {
            add("manifest", "manifest.json");
            add("plan", "plan.json");
            add("shard", "shards/00000/shard.json");
            add("sequences", "plan/00000/sequences.parquet");
            add("tokens", "plan/00000/tokens.parquet");
            add("predictions", "shards/00000/tokens.parquet");
        }
    }
    seeds
}

fn write_as(folder: &Path, dtype: Dtype, codec: Codec) {
    let mut plan = PlanWriter::create(folder).expect("a plan");
    for index in 0..SHARDS {
        let (sequences, tokens) = shard(index);
        plan.add_shard(&sequences, &tokens).expect("a planned shard");
    }
    plan.finish(corpus()).expect("a plan");
    let mut writer = CacheWriter::open(folder, settings(dtype, codec), NonFinite::Refuse, Existing::Refuse)
        .expect("a writer of a new cache");
    for index in 0..SHARDS {
        let (sequences, tokens) = shard(index);
        let mut shard = writer.begin_shard(index).expect("a new shard");
        for rows in shard.row_group_rows().to_vec() {
            let words = rows as usize * D_MODEL * dtype.bytes();
            // Every other byte is one of a small number, which is finite in each of the types.
            let bits: Vec<u8> = (0..words).map(|byte| if byte % 2 == 0 { (byte * 37) as u8 } else { 0x3c }).collect();
            shard.write_activations(&site(), bits).expect("a row group");
        }
        let whole = shard.finish(Some(predictions(&sequences, tokens.len()))).expect("a whole shard");
        writer.record(whole).expect("a recorded shard");
    }
    writer.finish().expect("a whole cache");
}

fn shard(index: usize) -> (Vec<Sequence>, Tokens) {
    let (mut sequences, mut tokens) = (Vec::<Sequence>::new(), Tokens::default());
    for (row_group, lengths) in LENGTHS.iter().enumerate() {
        for length in *lengths {
            let id = (index * 100 + sequences.len()) as u64;
            let subset: Option<Arc<str>> =
                (!id.is_multiple_of(3)).then(|| Arc::from(if id.is_multiple_of(2) { "ArXiv" } else { "Books" }));
            sequences.push(Sequence {
                id,
                document: 1000 + id,
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
                tokens.document.push(1000 + id);
                tokens.subset.push(subset.clone());
            }
        }
    }
    (sequences, tokens)
}

fn predictions(sequences: &[Sequence], rows: usize) -> Predictions {
    let numbers = |count: usize| (0..count).map(|index| index as f32 / 8.0).collect::<Vec<_>>();
    let mut loss = numbers(rows);
    for sequence in sequences {
        loss[(sequence.first_row + u64::from(sequence.length)) as usize - 1] = f32::NAN;
    }
    let top = rows * TOP_K as usize;
    Predictions {
        loss,
        logsumexp: numbers(rows),
        entropy: numbers(rows),
        top_k: TOP_K as usize,
        top_ids: (0..top as u32).collect(),
        top_logits: numbers(top),
    }
}

fn file(path: &str) -> FileRecord {
    FileRecord { path: path.to_owned(), bytes: 3, blake3: "00".repeat(32) }
}

fn corpus() -> Corpus {
    Corpus {
        name: "stories".to_owned(),
        tokenizer: TokenizerRecord { blake3: "11".repeat(32), vocab_size: 512, bos_id: 1, bos_text: "<s>".to_owned() },
        data: DataRecord {
            files: vec![file("/data/stories.jsonl")],
            text_field: "text".to_owned(),
            subset_field: Some("meta.subset".to_owned()),
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
        row_group_rows: 17,
        shard_tokens: 32,
    }
}

fn settings(dtype: Dtype, codec: Codec) -> HarvestSettings {
    HarvestSettings {
        model: ModelRecord {
            model_type: "llama".to_owned(),
            identity: Some(ModelIdentity {
                facts: [("dtype".to_owned(), "f32".to_owned())].into(),
                tensors_sha256: "22".repeat(32),
            }),
            precision: dtype,
            vocab_size: 512,
            d_model: D_MODEL,
            n_blocks: 5,
            context_length: 512,
        },
        sites: vec![site()],
        site_widths: BTreeMap::new(),
        dtype,
        codec,
        predictions: Some(KeptPredictions { top_k: TOP_K, full_logits: false }),
    }
}
