//! A small cache of chat sequences, written through the store alone, and the expected figures of an evaluation on it.
//! This file computes them from the definitions, sequence by sequence, with the whole model and without the crate under
//! test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{Decoder, Portion, Positions, Residual};
use hayloft_store::{
    CacheWriter, Codec, Corpus, DataRecord, Dtype, Existing, HarvestSettings, KeptPredictions, ModelRecord, NonFinite,
    Packing, PlanWriter, Predictions, Section, Sequence, SiteName, TokenizerRecord, Tokens,
};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use super::tensor;

const BLOCK: usize = 1;
pub const SITE: &str = "blocks.1.hook_resid_pre";

/// Lengths of the sequences of each row group of each shard.
const SHARDS: &[&[&[usize]]] = &[&[&[14, 9], &[7]], &[&[20, 12, 8]]];

/// The fixtures' smallest model.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama")
}

/// Its SAE: standard, with the decoder's bias subtracted from the input.
pub fn sae() -> PathBuf {
    model().join("sae")
}

/// The section of a position: BOS, two tokens of a template, a prompt, an answer, and the last two in no section.
fn section(position: usize, length: usize) -> Section {
    match position {
        0 => Section::Bos,
        1 | 2 => Section::Control,
        _ if position + 2 >= length => Section::Final,
        _ if position < length / 2 => Section::UserPrompt,
        _ => Section::Rollout,
    }
}

fn tokens_of(sequence: usize, length: usize) -> Vec<i64> {
    (0..length)
        .map(|position| if position == 0 { 0 } else { ((sequence * 37 + position * 13) % 318 + 2) as i64 })
        .collect()
}

/// Tokens of each sequence of each row group of each shard.
type Shards = Vec<Vec<Vec<Vec<i64>>>>;

fn chats() -> Shards {
    let mut number = 0..;
    let mut chat = |length: usize| tokens_of(number.next().unwrap_or(0), length);
    let mut group = |lengths: &[usize]| lengths.iter().map(|&length| chat(length)).collect();
    SHARDS.iter().map(|groups| groups.iter().map(|lengths| group(lengths)).collect()).collect()
}

/// The subset of every other sequence's document.
fn subset(sequence: usize) -> Option<String> {
    sequence.is_multiple_of(2).then(|| "even chats".to_owned())
}

/// Scales a sequence's residual `[pos, 32]` to norms of about 150, and to 60 times that at BOS.
fn lengthen(_: usize, residual: &Tensor) {
    let _ = residual.shallow_clone().g_mul_scalar_(30.0);
    let _ = residual.get(0).g_mul_scalar_(60.0);
}

/// A cache in a temporary folder.
pub struct Tiny {
    folder: TempDir,
}

impl Tiny {
    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// With losses kept and every activation finite.
    pub fn new() -> Self {
        Self::with(Some(KeptPredictions::top(0)), |_, _| {})
    }

    /// `spoil` may change a sequence's residual `[pos, 32]` before it is written.
    pub fn with(predictions: Option<KeptPredictions>, spoil: impl Fn(usize, &Tensor)) -> Self {
        Self::written(&settings(predictions), &chats(), spoil)
    }

    /// With a codec.
    pub fn coded(codec: Codec, predictions: KeptPredictions) -> Self {
        Self::written(&HarvestSettings { codec, ..settings(Some(predictions)) }, &chats(), |_, _| {})
    }

    /// With a number of shards: every third has two row groups, and their lengths differ. With top logits and a codec.
    pub fn sharded(shards: usize, codec: Codec) -> Self {
        let mut number = 0..;
        let mut chat = |length: usize| tokens_of(number.next().unwrap_or(0), length);
        let shards = (0..shards)
            .map(|shard| {
                let first = vec![chat(11 + 5 * (shard % 3)), chat(9)];
                if shard % 3 == 1 { vec![first, vec![chat(7)]] } else { vec![first] }
            })
            .collect();
        let settings = HarvestSettings { codec, ..settings(Some(KeptPredictions::top(4))) };
        Self::written(&settings, &shards, |_, _| {})
    }

    /// With activations as long as a large model's, and longer ones at BOS: attention sinks. No losses are kept.
    pub fn with_sinks() -> Self {
        Self::with(None, lengthen)
    }

    /// The same for one text of `text` tokens, cut into contexts that begin with BOS.
    pub fn cut(text: usize, context: usize) -> Self {
        let text: Vec<i64> = (0..text as i64).map(|place| (place * 37 + place / 11) % 318 + 2).collect();
        let contexts = text.chunks(context - 1).map(|tokens| [&[0], tokens].concat()).collect();
        Self::written(&settings(None), &vec![vec![contexts]], lengthen)
    }

    /// With the test's tokens, in one row group.
    pub fn of(sequences: Vec<Vec<i64>>) -> Self {
        Self::written(&settings(Some(KeptPredictions::top(0))), &vec![vec![sequences]], |_, _| {})
    }

    fn written(settings: &HarvestSettings, shards: &Shards, spoil: impl Fn(usize, &Tensor)) -> Self {
        let tiny = Self { folder: tempfile::tempdir().unwrap() };
        tiny.write_plan(shards);
        let decoder = decoder();
        let mut writer =
            CacheWriter::open(&tiny.cache(), settings.clone(), NonFinite::Allow, Existing::Refuse).unwrap();
        let mut number = 0;
        for (index, groups) in shards.iter().enumerate() {
            let mut shard = writer.begin_shard(index).unwrap();
            let kept = settings.predictions;
            let mut predictions =
                Predictions { top_k: kept.map_or(0, |kept| kept.top_k as usize), ..Predictions::default() };
            for group in groups {
                let (mut bits, mut logits_bits) = (Vec::new(), Vec::new());
                for tokens in group {
                    let residual = residual_of(&decoder, tokens);
                    if kept.is_some() {
                        let logits = logits(&decoder, &residual);
                        predictions.loss.extend(losses(&logits, tokens));
                        predictions.loss.push(f32::NAN);
                        add_predictions(&mut predictions, &logits);
                        logits_bits.extend(words(&logits));
                    }
                    spoil(number, &residual.get(0));
                    bits.extend(words(&residual));
                    number += 1;
                }
                shard.write_activations(&SITE.parse().unwrap(), bits).unwrap();
                if kept.is_some_and(|kept| kept.full_logits) {
                    shard.write_logits(logits_bits).unwrap();
                }
            }
            let written = shard.finish(kept.map(|_| predictions)).unwrap();
            writer.record(written).unwrap();
        }
        writer.finish().unwrap();
        tiny
    }

    fn write_plan(&self, shards: &Shards) {
        let mut plan = PlanWriter::create(&self.cache()).unwrap();
        let mut number = 0;
        for groups in shards {
            let (mut sequences, mut tokens) = (Vec::new(), Tokens::default());
            for (group, texts) in groups.iter().enumerate() {
                for text in texts {
                    let length = text.len();
                    sequences.push(Sequence {
                        id: number as u64,
                        document: number as u64,
                        subset: subset(number),
                        first_row: tokens.len() as u64,
                        length: length as u32,
                        row_group: group as u32,
                    });
                    for (position, &token) in text.iter().enumerate() {
                        tokens.sequence.push(number as u64);
                        tokens.position.push(position as u32);
                        tokens.token.push(token as u32);
                        // As an import labels a sequence that does not begin with BOS.
                        let is_bos = position > 0 || token == 0;
                        tokens.section.push(if is_bos { section(position, length) } else { Section::Text });
                        tokens.document.push(number as u64);
                        tokens.subset.push(subset(number).map(Into::into));
                    }
                    number += 1;
                }
            }
            plan.add_shard(&sequences, &tokens).unwrap();
        }
        plan.finish(corpus()).unwrap();
    }
}

fn corpus() -> Corpus {
    Corpus {
        name: "chat".to_owned(),
        tokenizer: TokenizerRecord { blake3: "11".repeat(32), vocab_size: 320, bos_id: 0, bos_text: "<s>".to_owned() },
        data: DataRecord {
            files: Vec::new(),
            text_field: "text".to_owned(),
            subset_field: None,
            max_tokens: None,
            seed: None,
            shuffle_buffer: None,
            documents: 6,
            tokens_field: None,
            skipped_rows: None,
            selection: None,
        },
        chat: None,
        selected_from: Vec::new(),
        packing: Packing::PerDocument,
        context_length: 64,
        row_group_rows: 64,
        shard_tokens: 64,
    }
}

fn settings(predictions: Option<KeptPredictions>) -> HarvestSettings {
    let checkpoint = Checkpoint::open(&model()).unwrap();
    let spec = checkpoint.spec();
    HarvestSettings {
        model: ModelRecord {
            model_type: spec.model_type.clone(),
            identity: Some(checkpoint.identity(&|_| {}).unwrap()),
            precision: Dtype::F32,
            vocab_size: spec.vocab_size,
            d_model: spec.d_model,
            n_blocks: spec.n_blocks,
            context_length: spec.context_length,
        },
        sites: vec![SITE.parse::<SiteName>().unwrap()],
        site_widths: BTreeMap::new(),
        dtype: Dtype::F32,
        codec: Codec::PLANES,
        predictions,
    }
}

fn decoder() -> Decoder {
    let checkpoint = Checkpoint::open(&model()).unwrap();
    Decoder::load(&checkpoint, Portion::Whole, Dtype::F32, Device::Cpu).unwrap()
}

/// Tokens in one forward pass.
const PIECE: usize = 64;

/// `[1, pos, d_model]` entering the block. Longer inputs are computed piece by piece, so that contexts of any length
/// have similar activations.
fn residual_of(decoder: &Decoder, tokens: &[i64]) -> Tensor {
    let piece = |tokens: &[i64]| {
        let positions = Positions::from_start(tokens.len());
        let start = decoder.embed(&Tensor::from_slice(tokens).unsqueeze(0)).unwrap();
        decoder.advance(&start, BLOCK, &positions).unwrap().stream
    };
    let pieces: Vec<Tensor> = tokens.chunks(PIECE).map(piece).collect();
    Tensor::cat(&pieces, 1)
}

/// The bytes of a float32 tensor.
fn words(tensor: &Tensor) -> Vec<u8> {
    let values: Vec<f32> = Vec::try_from(tensor.reshape([-1])).unwrap();
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Adds the kept values of logits `[pos, vocab]` except the loss; the entropy, which no test reads, is zero.
fn add_predictions(predictions: &mut Predictions, logits: &Tensor) {
    let rows = logits.size()[0] as usize;
    predictions.logsumexp.extend(Vec::<f32>::try_from(logits.logsumexp(-1, false)).unwrap());
    predictions.entropy.extend(vec![0.0; rows]);
    let (largest, ids) = logits.topk(predictions.top_k as i64, -1, true, true);
    predictions.top_logits.extend(Vec::<f32>::try_from(largest.reshape([-1])).unwrap());
    let ids: Vec<i64> = Vec::try_from(ids.reshape([-1])).unwrap();
    predictions.top_ids.extend(ids.into_iter().map(|id| id as u32));
}

/// Logits `[pos, vocab]`, continued from a residual `[1, pos, d_model]`.
fn logits(decoder: &Decoder, residual: &Tensor) -> Tensor {
    let start = Residual { stream: residual.shallow_clone(), block: BLOCK };
    let positions = Positions::from_start(residual.size()[1] as usize);
    let end = decoder.advance(&start, decoder.spec().n_blocks, &positions).unwrap();
    decoder.logits(&end).unwrap().get(0)
}

/// The loss of every position but the last, of logits `[pos, vocab]`.
fn losses(logits: &Tensor, tokens: &[i64]) -> Vec<f32> {
    let log_probabilities = logits.to_kind(Kind::Double).log_softmax(-1, Kind::Double);
    let next = &tokens[1..];
    next.iter().enumerate().map(|(row, &token)| -log_probabilities.double_value(&[row as i64, token]) as f32).collect()
}

/// The expected columns, by name.
pub fn expected(section_name: &str, scale: f64, outlier_norm: Option<f64>) -> BTreeMap<&'static str, f64> {
    let decoder = decoder();
    let weights = sae().join("sae_weights.safetensors");
    let weight = |name| tensor(&weights, name).to_kind(Kind::Double);
    let (encoder, encoder_bias, decoder_rows, bias) =
        (weight("W_enc"), weight("b_enc"), weight("W_dec"), weight("b_dec"));
    let lengths = SHARDS.iter().flat_map(|groups| groups.iter().flat_map(|group| group.iter().copied()));
    let mut kept = Vec::new(); // (x, reconstruction, latents that fire)
    let mut l1 = 0.0;
    let (mut outliers, mut tokens_with_loss) = (0.0, 0.0);
    let (mut clean, mut spliced, mut ablated) = (0.0, 0.0, 0.0);
    for (number, length) in lengths.enumerate() {
        let tokens = tokens_of(number, length);
        let residual = residual_of(&decoder, &tokens);
        let (with_sae, with_zeros) = (residual.copy(), residual.copy());
        let belongs = |position| section_name == "all" || section(position, length).as_str() == section_name;
        for position in (0..length).filter(|&position| belongs(position)) {
            let place = |residual: &Tensor| residual.get(0).get(position as i64);
            let x = place(&residual).to_kind(Kind::Double) * scale;
            let _ = place(&with_zeros).zero_();
            if outlier_norm.is_some_and(|norm| x.norm().double_value(&[]) > norm) {
                outliers += 1.0;
                continue;
            }
            let latents = ((&x - &bias).unsqueeze(0).matmul(&encoder) + &encoder_bias).relu();
            let reconstruction = latents.matmul(&decoder_rows).squeeze_dim(0) + &bias;
            place(&with_sae).copy_(&(&reconstruction / scale));
            l1 += latents.sum(Kind::Double).double_value(&[]);
            kept.push((x, reconstruction, latents.gt(0.0).sum(Kind::Double).double_value(&[])));
        }
        let (of_clean, of_sae, of_zeros) = (
            losses(&logits(&decoder, &residual), &tokens),
            losses(&logits(&decoder, &with_sae), &tokens),
            losses(&logits(&decoder, &with_zeros), &tokens),
        );
        for position in (0..length - 1).filter(|&position| belongs(position)) {
            tokens_with_loss += 1.0;
            clean += f64::from(of_clean[position]);
            spliced += f64::from(of_sae[position]);
            ablated += f64::from(of_zeros[position]);
        }
    }
    let rows = kept.len() as f64;
    let mean = Tensor::stack(&kept.iter().map(|(x, ..)| x).collect::<Vec<_>>(), 0).mean_dim(
        [0i64].as_slice(),
        false,
        Kind::Double,
    );
    let square = |difference: Tensor| difference.square().sum(Kind::Double).double_value(&[]);
    let errors: Vec<f64> = kept.iter().map(|(x, reconstruction, _)| square(x - reconstruction)).collect();
    let deviations: Vec<f64> = kept.iter().map(|(x, ..)| square(x - &mean)).collect();
    let dot = |left: &Tensor, right: &Tensor| (left * right).sum(Kind::Double).double_value(&[]);
    let sum = |term: &dyn Fn(&Tensor, &Tensor) -> f64| kept.iter().map(|(x, r, _)| term(x, r)).sum::<f64>();
    let norm = |vector: &Tensor| vector.norm().double_value(&[]);
    let (error, deviation) = (errors.iter().sum::<f64>(), deviations.iter().sum::<f64>());
    let explained: f64 = errors.iter().zip(&deviations).map(|(error, deviation)| 1.0 - error / deviation).sum();
    let (clean, spliced, ablated) = (clean / tokens_with_loss, spliced / tokens_with_loss, ablated / tokens_with_loss);
    BTreeMap::from([
        ("l0", kept.iter().map(|(.., fired)| fired).sum::<f64>() / rows),
        ("ce_recovered", (ablated - spliced) / (ablated - clean)),
        ("ce_clean", clean),
        ("ce_sae", spliced),
        ("ce_delta", spliced - clean),
        ("ce_zero", ablated),
        ("explained_variance", explained / rows),
        ("explained_variance_pooled", 1.0 - error / deviation),
        ("mse", error / rows),
        ("mse_raw", error / rows / (scale * scale)),
        ("loss_tokens", tokens_with_loss),
        ("activation_rows", rows),
        ("outlier_rows", outliers),
        ("cosine_similarity", sum(&|x, r| dot(x, r) / (norm(x) * norm(r))) / rows),
        ("l2_ratio", sum(&|x, r| norm(r) / norm(x)) / rows),
        ("l1", l1 / rows),
        ("relative_reconstruction_bias", sum(&|_, r| dot(r, r)) / sum(&dot)),
    ])
}
