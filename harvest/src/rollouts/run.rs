//! Runs rollouts, from settings to summary.

use std::time::Instant;

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{
    Decoder, GenerateSettings, GenerationConfig, LogitsProcessors, Portion, PromptRow, Sampling, SpecialToken,
    Tokenizer, generate,
};
use hayloft_runtime::{Gauge, Progress};
use hayloft_store::Existing;

use super::error::RolloutError;
use super::file::{PromptForm, RolloutRow, RolloutsWriter};
use super::parts::{Parts, read_same};
use super::prompts::{Prompter, RenderedPrompt, batches};
use super::record::RolloutsRecord;
use super::settings::RolloutSettings;
use super::summary::RolloutSummary;
use crate::chat::ChatTemplate;
use crate::data::DataManifest;
use crate::identify::identify;
use crate::plan::{begin_token, check_context, end_of_turn};
use crate::run::device_name;

/// Generates the model's replies to the data manifest's instructions.
///
/// After an error or a kill, finished batches remain in `OUT.parts`, and the same run with [`Existing::Resume`]
/// continues after them. Several processes may each generate a share of the batches. A run with [`Existing::Resume`]
/// and no share then merges the parts.
pub fn rollouts(settings: &RolloutSettings, progress: Progress) -> Result<RolloutSummary, RolloutError> {
    let parts = Parts::of(&settings.out);
    check_out(settings, &parts)?;
    settings.sampling.check()?;
    let checkpoint = Checkpoint::open(&settings.model)?;
    let generation = GenerationConfig::read(&settings.model)?;
    let tokenizer = Tokenizer::open(&settings.model)?;
    let manifest = DataManifest::open(&settings.data, settings.data_root.as_deref())?;
    check_context(&manifest.path, manifest.context_length, &settings.model, checkpoint.spec())?;
    let Some(chat) = &manifest.chat else { return Err(RolloutError::NotChat { manifest: manifest.path }) };
    let template = ChatTemplate::open(chat.template, &settings.model)?;
    let bos = begin_token(&manifest, &tokenizer)?;
    let stop = if settings.stop.is_empty() {
        end_of_turn(&manifest, chat, &template, &tokenizer)?.tokens().to_vec()
    } else {
        settings.stop.iter().map(|text| tokenizer.token(text, "--stop")).collect::<Result<_, _>>()?
    };
    warn_of_no_stop(&stop);
    log_generation_config(&generation, settings.sampling);
    let prompter = Prompter {
        manifest: &manifest,
        settings: chat,
        template: &template,
        tokenizer: &tokenizer,
        vocabulary: checkpoint.spec().vocab_size,
        bos: bos.as_ref(),
    };
    let (prompts, skipped) = prompter.read(settings.limit.map_or(usize::MAX, Into::into))?;

    let record = RolloutsRecord {
        format: RolloutsRecord::FORMAT,
        model: identify(&checkpoint, progress)?,
        precision: settings.precision.unwrap_or(checkpoint.precision()),
        tokenizer_blake3: tokenizer.blake3().to_owned(),
        bos_id: bos.map_or(u32::MAX, |bos| bos.id),
        template: chat.template.to_string(),
        template_blake3: template.blake3(),
        sampling: settings.sampling,
        logits_processors: generation.processors,
        max_new_tokens: settings.max_new_tokens.get(),
        context_length: manifest.context_length as usize,
        stop_token_ids: stop.iter().map(|token| token.id).collect(),
        end_of_turn: stop.into_iter().map(|token| token.text).collect(),
        batch_tokens: settings.batch_tokens.get(),
    };
    let finished = settings.out.exists();
    let file = if settings.part.is_some() && !finished { parts.folder() } else { &settings.out };
    let mut summary = RolloutSummary::new(file.to_owned(), skipped);
    if finished {
        // Already finished; only leftover parts remain to be removed.
        summary.count(&read_same(&settings.out, &record, &prompts)?);
    } else {
        let run = BatchRun { settings, checkpoint: &checkpoint, tokenizer: &tokenizer, record: &record, parts: &parts };
        run.fill(&prompts, &mut summary, progress)?;
    }
    if settings.part.is_none() {
        parts.remove()?;
    }
    if summary.empty > 0 {
        tracing::warn!(empty = summary.empty, "rollouts without a token: the model ended its turn at once");
    }
    Ok(summary)
}

/// Returns an error if the output exists, or has a name that could not be read again.
fn check_out(settings: &RolloutSettings, parts: &Parts) -> Result<(), RolloutError> {
    let out = &settings.out;
    if out.extension().is_none_or(|extension| extension != "parquet") {
        return Err(RolloutError::OutName { path: out.clone() });
    }
    if settings.existing == Existing::Refuse && settings.part.is_none() {
        for path in [out.as_path(), parts.folder()] {
            if path.exists() {
                return Err(RolloutError::Exists { path: path.to_owned() });
            }
        }
    }
    Ok(())
}

fn warn_of_no_stop(stop: &[SpecialToken]) {
    if stop.is_empty() {
        tracing::warn!(
            "no file of the checkpoint names a token that ends a turn: every rollout goes on to its limit. Name one with --stop, or as end_of_turn in the data manifest"
        );
    }
}

/// Logs which settings of the checkpoint's `generation_config.json` apply.
fn log_generation_config(generation: &GenerationConfig, sampling: Sampling) {
    let GenerationConfig { processors, samples, sampling: wanted, unknown, not_followed } = generation;
    if !not_followed.is_empty() {
        tracing::warn!(
            "config.json: settings of generation are not followed, as transformers 5 does not: {}. To follow them, put them into generation_config.json",
            not_followed.join(", ")
        );
    }
    if !processors.is_empty() {
        tracing::info!(
            "generation_config.json: applied before each choice, as transformers does: {}",
            in_words(processors)
        );
    }
    let how = if sampling == Sampling::Greedy { "greedily" } else { "as --temperature and --top-p say" };
    // A file that does not ask for sampling agrees with greedy decoding, whatever its sampling settings are.
    if *samples || sampling != Sampling::Greedy && !wanted.is_empty() {
        let wanted = if wanted.is_empty() { "nothing more".to_owned() } else { wanted.join(", ") };
        tracing::info!("generation_config.json: do_sample {samples}, {wanted}: not followed, tokens are chosen {how}");
    }
    if !unknown.is_empty() {
        tracing::warn!(
            "generation_config.json: passed over, as transformers does, for not being known: {}",
            unknown.join(", ")
        );
    }
}

/// Formats the processors with the file's keys.
pub(crate) fn in_words(processors: &LogitsProcessors) -> String {
    // Numbers and lists always serialise.
    let fields = serde_json::to_value(processors).unwrap_or_default();
    let fields = fields.as_object().into_iter().flatten().map(|(key, value)| format!("{key} {value}"));
    fields.collect::<Vec<_>>().join(", ")
}

/// Shared state of the batches of a run.
struct BatchRun<'run> {
    settings: &'run RolloutSettings,
    checkpoint: &'run Checkpoint,
    tokenizer: &'run Tokenizer,
    record: &'run RolloutsRecord,
    parts: &'run Parts,
}

impl BatchRun<'_> {
    /// Generates the missing parts and merges all parts into the file.
    fn fill(
        &self,
        prompts: &[RenderedPrompt],
        summary: &mut RolloutSummary,
        progress: Progress,
    ) -> Result<(), RolloutError> {
        self.parts.create()?;
        let batches = batches(prompts, self.record.max_new_tokens, self.record.batch_tokens);
        let mut missing = Vec::new();
        let own = self.settings.part.map_or(0..batches.len(), |part| part.range(batches.len()));
        for (part, batch) in batches.iter().enumerate().filter(|(part, _)| own.contains(part)) {
            if self.parts.read(part, self.record, &prompts[batch.clone()])?.is_none() {
                missing.push(part);
            }
        }
        if !missing.is_empty() {
            let decoder = self.load()?;
            let left: Vec<&[RenderedPrompt]> = missing.iter().map(|part| &prompts[batches[*part].clone()]).collect();
            let gauge = progress.gauge("generated", Some(left.iter().copied().map(|batch| self.room(batch)).sum()));
            let start = Instant::now();
            let (mut rows, mut tokens) = (0, 0);
            for (part, batch) in missing.into_iter().zip(left) {
                let (made, generated) = self.generate(&decoder, batch, &gauge)?;
                self.parts.write(part, self.record, &made)?;
                rows += made.len() as u64;
                tokens += generated;
            }
            drop(gauge);
            summary.made(rows, tokens, start.elapsed().as_secs_f64());
        }
        let form = PromptForm::of(prompts.iter().map(|prompt| prompt.messages.as_slice()));
        let mut writer = match self.settings.part {
            Some(_) => None,
            None => Some(RolloutsWriter::create(&self.settings.out, self.record, form)?),
        };
        for (part, batch) in batches.iter().enumerate().filter(|(part, _)| own.contains(part)) {
            let rows = self.parts.read(part, self.record, &prompts[batch.clone()])?;
            let rows = rows.ok_or_else(|| RolloutError::Damaged {
                path: self.parts.folder().to_owned(),
                problem: format!("part {part} has gone while this was running"),
            })?;
            if let Some(writer) = &mut writer {
                writer.write(&rows)?;
            }
            summary.count(&rows);
        }
        writer.map_or(Ok(()), RolloutsWriter::finish)
    }

    fn load(&self) -> Result<Decoder, RolloutError> {
        let (precision, device) = (self.record.precision, self.settings.device);
        tracing::info!(%precision, device = device_name(device), "loading the model");
        Ok(Decoder::load(self.checkpoint, Portion::Whole, precision, device)?)
    }

    /// Returns the maximum number of tokens that can be generated for the prompts.
    fn room(&self, prompts: &[RenderedPrompt]) -> u64 {
        let room = |prompt: &RenderedPrompt| {
            self.record.max_new_tokens.min(self.record.context_length.saturating_sub(prompt.tokens.len())) as u64
        };
        prompts.iter().map(room).sum()
    }

    /// Generates a batch. Also returns the number of generated tokens.
    fn generate(
        &self,
        decoder: &Decoder,
        batch: &[RenderedPrompt],
        gauge: &Gauge,
    ) -> Result<(Vec<RolloutRow>, u64), RolloutError> {
        let settings = GenerateSettings {
            sampling: self.record.sampling,
            processors: self.record.logits_processors.clone(),
            max_new_tokens: self.record.max_new_tokens,
            context_length: self.record.context_length,
            stop_tokens: self.record.stop_token_ids.clone(),
        };
        let prompts: Vec<PromptRow<'_>> =
            batch.iter().map(|prompt| PromptRow { row: prompt.row, tokens: &prompt.tokens }).collect();
        let mut generated = 0;
        let rollouts = generate(decoder, &prompts, &settings, |step| {
            generated += step.tokens as u64;
            gauge.advance(step.tokens as u64);
            gauge.shrink_total(step.spared as u64);
        })?;
        let rows = batch.iter().zip(rollouts).map(|(prompt, rollout)| {
            Ok(RolloutRow {
                row: prompt.row,
                instruction: prompt.instruction.clone(),
                messages: prompt.messages.clone(),
                prompt: prompt.prompt.clone(),
                prompt_token_ids: prompt.tokens.clone(),
                rollout: self.tokenizer.decode(&rollout.tokens)?,
                rollout_token_ids: rollout.tokens,
                finish_reason: rollout.finish,
            })
        });
        Ok((rows.collect::<Result<_, RolloutError>>()?, generated))
    }
}
