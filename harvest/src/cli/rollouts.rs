//! `harvest rollouts`.
#![expect(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be shown")]

use std::num::NonZeroUsize;

use clap::Args;
use hayloft_harvest::RolloutSettings;
use hayloft_model::{ModelError, Sampling, parse_device};
use hayloft_runtime::{Dtype, Part};
use hayloft_store::{Existing, LocalPath};

use super::InputPaths;

#[derive(Debug, Args)]
#[command(after_help = ROLLOUTS)]
pub struct RolloutArguments {
    #[command(flatten)]
    paths: InputPaths,
    /// The data manifest, whose chat table says which instructions, and in which template (data-manifests/README.md)
    #[arg(long, value_name = "FILE")]
    data: LocalPath,
    /// The Parquet file to write; finished batches are kept in FILE.parts until all are there
    #[arg(long, value_name = "FILE")]
    out: LocalPath,
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = RolloutSettings::MAX_NEW_TOKENS)]
    max_new_tokens: NonZeroUsize,
    /// Draw tokens at random, with logits divided by T; 0 is the same as not at all [default: greedy, or 1 with --top-p]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Draw from the fewest most likely tokens whose probabilities add up to P [default: 1, from all of them]
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// What decides the random numbers; each row has its own, whatever the batches
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Text of a token that ends an answer; may be given several times [default: end_of_turn of the data manifest, else
    /// eos_token and eos_token_id of the checkpoint and the token that its template ends a turn with]
    #[arg(long, value_name = "TOKEN")]
    stop: Vec<String>,
    /// The most tokens of a batch, padding and room for new tokens counted in: the memory that keys and values take
    #[arg(long, value_name = "N", default_value_t = RolloutSettings::BATCH_TOKENS)]
    batch_tokens: NonZeroUsize,
    /// What the model runs in: f32, bf16 or f16. In f32 answers do not depend on batches [default: the checkpoint's]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,
    /// Where the model runs: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of the model's kernels, and of tokenising [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Only the first N of the selected rows
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Generate only the I-th of N shares of the batches (0/8 to 7/8), as one of several processes, which leave them in FILE.parts;
    /// the same command with --resume and without --part then makes the file
    #[arg(long, value_name = "I/N")]
    part: Option<Part>,
    /// Go on where an earlier run with the same settings stopped
    #[arg(long)]
    resume: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

const ROLLOUTS: &str = "\
The file has the columns row, instruction, prompt, prompt_token_ids, rollout,
rollout_token_ids and finish_reason (stop, length or context), and messages,
where prompts are more than an instruction. A data manifest
with [chat] that names it takes its token ids as they are: nothing is tokenised
twice.

What generation_config.json says of every choice is applied as transformers
does, told and recorded: repetition_penalty, no_repeat_ngram_size,
bad_words_ids, min_length, min_new_tokens, suppress_tokens,
begin_suppress_tokens. What else would make other text (beams, forced tokens,
stop strings) is refused by name; temperature, top_p and do_sample are what is
asked for here.

Examples:
  # The study's: greedy, at most 64 tokens
  harvest rollouts --model mistral-7b-instruct \\
      --data data-manifests/study/alpaca-mistral-7b.toml \\
      --out rollouts.parquet --device cuda

  # Sampled; the same seed gives the same answers
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml \\
      --out sampled.parquet --temperature 0.7 --top-p 0.95 --seed 1

  # Shared by two processes, and put together
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml \\
      --out rollouts.parquet --part 0/2 --device cuda:0 &
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml \\
      --out rollouts.parquet --part 1/2 --device cuda:1 ; wait
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml \\
      --out rollouts.parquet --resume

  # Have a look at five first
  harvest rollouts --model mistral-7b-instruct --data alpaca.toml \\
      --out five.parquet --limit 5";

impl RolloutArguments {
    /// The settings of the run. Returns an error if the device does not exist.
    pub fn settings(self) -> Result<RolloutSettings, ModelError> {
        let sampling = match (self.temperature, self.top_p) {
            (None, None) | (Some(0.0), _) => Sampling::Greedy,
            (temperature, top_p) => Sampling::Random {
                temperature: temperature.unwrap_or(1.0),
                top_p: top_p.unwrap_or(1.0),
                seed: self.seed,
            },
        };
        Ok(RolloutSettings {
            model: self.paths.model.into(),
            data: self.data.into(),
            data_root: self.paths.data_root.map(Into::into),
            out: self.out.into(),
            max_new_tokens: self.max_new_tokens,
            sampling,
            stop: self.stop,
            batch_tokens: self.batch_tokens,
            precision: self.dtype,
            device: parse_device(&self.device)?,
            limit: self.limit,
            part: self.part,
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    #[test]
    fn rollouts_are_greedy_unless_they_are_sampled() {
        let sampling = |flags: &str| {
            let words = "harvest rollouts --model m --data d.toml --out r.parquet ".to_owned() + flags;
            let Command::Rollouts(arguments) = Arguments::parse_from(words.split_whitespace()).command else {
                panic!("expected rollouts")
            };
            arguments.settings().unwrap().sampling
        };
        assert_eq!(sampling("--seed 3"), Sampling::Greedy);
        assert_eq!(sampling("--temperature 0 --top-p 0.5"), Sampling::Greedy);
        assert_eq!(sampling("--temperature 0.7"), Sampling::Random { temperature: 0.7, top_p: 1.0, seed: 0 });
        assert_eq!(sampling("--top-p 0.9 --seed 4"), Sampling::Random { temperature: 1.0, top_p: 0.9, seed: 4 });
    }
}
