//! The generation loop: choose a token for each row, remove finished rows, advance the rest.

use std::borrow::Cow;

use hayloft_runtime::Dtype;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::choice::{Choice, Margin, choose};
use super::processors::LogitsProcessors;
use super::progress::Generated;
use super::rollout::{FinishReason, PromptRow, Rollout};
use super::sampling::Sampling;
use crate::decoder::{Decoder, KeyValueCache};
use crate::error::ModelError;
use crate::no_grad;
use crate::residual::Positions;

/// Settings of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateSettings {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Processing of the logits before the choice.
    pub processors: LogitsProcessors,
    /// Maximum number of new tokens of a rollout.
    pub max_new_tokens: usize,
    /// Maximum length of prompt and rollout together, also bounded by the model's context.
    pub context_length: usize,
    /// Tokens that end a rollout. They are not part of it.
    pub stop_tokens: Vec<u32>,
}

/// Continues every prompt until it ends. Rollouts are in the order of the prompts.
///
/// `step` is called after each step of the batch. Memory is that of a cache of prompts × (longest prompt + `max_new_tokens`)
/// tokens plus a forward pass over all prompts at once; split larger workloads into batches.
pub fn generate(
    decoder: &Decoder,
    prompts: &[PromptRow<'_>],
    settings: &GenerateSettings,
    mut step: impl FnMut(Generated),
) -> Result<Vec<Rollout>, ModelError> {
    settings.sampling.check()?;
    settings.processors.check()?;
    let _guard = no_grad();
    let context = settings.context_length.min(decoder.spec().context_length);
    let mut rollouts: Vec<Option<Rollout>> = vec![None; prompts.len()];
    let mut rows = Vec::with_capacity(prompts.len());
    for (index, prompt) in prompts.iter().enumerate() {
        let row = Row::new(index, *prompt, settings.max_new_tokens, context)?;
        match row.room {
            0 => rollouts[index] = Some(row.finish(row.limit)),
            _ => rows.push(row),
        }
    }
    if !rows.is_empty() {
        let mut batch = Batch::start(decoder, rows)?;
        while !batch.rows.is_empty() {
            step(batch.step(settings, &mut rollouts)?);
        }
    }
    // Each row that leaves the batch stores its rollout.
    Ok(rollouts.into_iter().flatten().collect())
}

/// A sequence being generated.
struct Row {
    /// Index of its prompt.
    index: usize,
    /// The number that selects its random numbers.
    number: u64,
    /// Prompt and new tokens.
    tokens: Vec<u32>,
    prompt_length: usize,
    /// Number of tokens that it may still take.
    room: usize,
    /// The reason for its end once `room` is used up.
    limit: FinishReason,
}

impl Row {
    fn new(index: usize, prompt: PromptRow<'_>, max_new_tokens: usize, context: usize) -> Result<Self, ModelError> {
        let length = prompt.tokens.len();
        if length == 0 || length > context {
            return Err(ModelError::Input {
                problem: format!(
                    "prompt of row {}: expected 1 to {context} tokens, the context, got {length}",
                    prompt.row
                ),
            });
        }
        let in_context = context - length;
        let (room, limit) = if max_new_tokens <= in_context {
            (max_new_tokens, FinishReason::Length)
        } else {
            (in_context, FinishReason::Context)
        };
        Ok(Self { index, number: prompt.row, tokens: prompt.tokens.to_vec(), prompt_length: length, room, limit })
    }

    fn finish(&self, finish: FinishReason) -> Rollout {
        Rollout { tokens: self.tokens[self.prompt_length..].to_vec(), finish }
    }

    /// Chooses from logits of this row.
    fn choose(&self, logits: &[f32], settings: &GenerateSettings) -> Result<Choice, ModelError> {
        let GenerateSettings { sampling, processors, stop_tokens, .. } = settings;
        let draw = (self.tokens.len() - self.prompt_length) as u64;
        let mut logits = Cow::Borrowed(logits);
        let is_sound = logits.iter().any(|logit| logit.is_finite());
        if !processors.is_empty() {
            processors.apply(logits.to_mut(), &self.tokens, self.prompt_length, stop_tokens);
        }
        choose(&logits, *sampling, (self.number, draw), processors.spread()).ok_or_else(|| ModelError::Input {
            problem: format!(
                "logits of row {} after {} tokens: expected finite numbers, got {}",
                self.number,
                self.tokens.len(),
                if is_sound && logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
                    "none: what generation_config.json rules out leaves no token"
                } else {
                    "NaN or infinity. Are the weights whole, and does --dtype reach far enough?"
                }
            ),
        })
    }

    /// Chooses from logits computed for this row alone, without a cache.
    fn choose_alone(&self, decoder: &Decoder, settings: &GenerateSettings) -> Result<Choice, ModelError> {
        let tokens: Vec<i64> = self.tokens.iter().map(|&id| i64::from(id)).collect();
        let batch = Tensor::f_from_slice(&tokens)?.f_unsqueeze(0)?.f_to_device(decoder.device())?;
        let positions = Positions::from_start(tokens.len());
        let mut end = decoder.advance(&decoder.embed(&batch)?, decoder.spec().n_blocks, &positions)?;
        end.stream = end.stream.f_narrow(1, -1, 1)?;
        self.choose(&floats(&decoder.logits(&end)?)?, settings)
    }
}

/// The rows still being generated.
struct Batch<'decoder> {
    decoder: &'decoder Decoder,
    cache: KeyValueCache,
    /// The rows of the cache, in any order.
    rows: Vec<Row>,
    /// `[rows, vocab]`: logits of the next token.
    logits: Vec<f32>,
}

impl<'decoder> Batch<'decoder> {
    /// Runs all prompts through the model.
    fn start(decoder: &'decoder Decoder, rows: Vec<Row>) -> Result<Self, ModelError> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        // The last token of a row does not enter the model.
        let furthest = rows.iter().map(|row| row.tokens.len() + row.room - 1).max().unwrap_or(0);
        let mut cache = decoder.cache(rows.len(), furthest.max(width))?;
        let mut tokens = vec![0_i64; rows.len() * width];
        for (place, row) in tokens.chunks_mut(width).zip(&rows) {
            for (place, &id) in place.iter_mut().zip(&row.tokens) {
                *place = i64::from(id);
            }
        }
        let tokens = Tensor::f_from_slice(&tokens)?.f_view([rows.len() as i64, width as i64])?;
        let logits = floats(&decoder.extend(&mut cache, &tokens.f_to_device(decoder.device())?, &lengths)?)?;
        Ok(Self { decoder, cache, rows, logits })
    }

    /// Adds a token to every row. Finished rows move to `rollouts`.
    fn step(&mut self, settings: &GenerateSettings, rollouts: &mut [Option<Rollout>]) -> Result<Generated, ModelError> {
        let choices = self.choose(settings)?;
        let mut generated = Generated { tokens: choices.len(), spared: 0 };
        // Backwards: a row swapped into a free place has already been handled.
        for (place, token) in choices.into_iter().enumerate().rev() {
            let row = &mut self.rows[place];
            row.room -= 1;
            let finish = if settings.stop_tokens.contains(&token) {
                Some(FinishReason::Stop)
            } else {
                row.tokens.push(token);
                (row.room == 0).then_some(row.limit)
            };
            if let Some(finish) = finish {
                generated.spared += row.room;
                rollouts[row.index] = Some(row.finish(finish));
                self.rows.swap_remove(place);
                self.cache.swap_remove(place)?;
            }
        }
        if !self.rows.is_empty() {
            let newest: Vec<i64> =
                self.rows.iter().filter_map(|row| row.tokens.last().map(|&id| i64::from(id))).collect();
            let newest = Tensor::f_from_slice(&newest)?.f_unsqueeze(-1)?.f_to_device(self.decoder.device())?;
            self.logits = floats(&self.decoder.extend(&mut self.cache, &newest, &vec![1; self.rows.len()])?)?;
        }
        Ok(generated)
    }

    /// Chooses the next token of each row. In float32, the choice does not depend on the batch.
    fn choose(&self, settings: &GenerateSettings) -> Result<Vec<u32>, ModelError> {
        let vocabulary = self.decoder.spec().vocab_size;
        let rows = self.rows.par_iter().zip(self.logits.par_chunks(vocabulary));
        let choices = rows.map(|(row, logits)| row.choose(logits, settings)).collect::<Result<Vec<_>, _>>()?;
        let settle = |(row, choice): (&Row, Choice)| match (choice.margin, self.decoder.precision()) {
            (Margin::Close, Dtype::F32) => Ok(row.choose_alone(self.decoder, settings)?.token),
            _ => Ok(choice.token),
        };
        self.rows.iter().zip(choices).map(settle).collect()
    }
}

/// Copies logits to host memory as float32.
fn floats(logits: &Tensor) -> Result<Vec<f32>, ModelError> {
    let mut values = vec![0.0; logits.numel()];
    let count = values.len();
    logits.f_to_kind(Kind::Float)?.f_copy_data(&mut values, count)?;
    Ok(values)
}
