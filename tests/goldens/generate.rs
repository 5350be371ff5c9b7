//! Generation: the cache compared with the uncached forward pass, batches with single rows, and both with transformers'
//! `generate` (`scripts/goldens/generate.py`) on every family and configuration.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{
    Decoder, FinishReason, GenerateSettings, GenerationConfig, LogitsProcessors, Portion, Positions, PromptRow,
    Rollout, Sampling, generate, no_grad,
};
use hayloft_runtime::Dtype;
use serde::Deserialize;
use tch::{Device, Tensor};

use super::decoder::float32_checkpoints;
use crate::support::{Golden, fixture, max_difference};

#[derive(Deserialize)]
struct Greedy {
    prompts: Vec<Vec<u32>>,
    rollouts: Vec<Vec<u32>>,
}

fn load(folder: &Path) -> Decoder {
    Decoder::load(&Checkpoint::open(folder).unwrap(), Portion::Whole, Dtype::F32, Device::Cpu).unwrap()
}

fn settings(sampling: Sampling, max_new_tokens: usize, stop_tokens: &[u32]) -> GenerateSettings {
    GenerateSettings {
        sampling,
        processors: LogitsProcessors::default(),
        max_new_tokens,
        context_length: usize::MAX,
        stop_tokens: stop_tokens.to_vec(),
    }
}

fn prompt_rows(prompts: &[Vec<u32>]) -> Vec<PromptRow<'_>> {
    prompts.iter().zip(0..).map(|(tokens, row)| PromptRow { row, tokens }).collect()
}

/// All prompts in one batch, after a check that each gives the same output alone and in the reversed batch.
fn generate_in_any_batch(decoder: &Decoder, prompts: &[PromptRow<'_>], settings: &GenerateSettings) -> Vec<Rollout> {
    let run = |prompts: &[PromptRow<'_>]| generate(decoder, prompts, settings, |_| {}).unwrap();
    let together = run(prompts);
    for (prompt, expected) in prompts.iter().zip(&together) {
        assert_eq!(&run(&[*prompt])[0], expected, "row {} gives another output alone", prompt.row);
    }
    let backwards: Vec<PromptRow<'_>> = prompts.iter().rev().copied().collect();
    let backwards: Vec<Rollout> = run(&backwards).into_iter().rev().collect();
    assert_eq!(backwards, together);
    together
}

#[test]
fn greedy_rollouts_are_those_of_transformers_in_any_batch() {
    let text = std::fs::read_to_string(fixture("generate/greedy.json")).unwrap();
    let goldens: BTreeMap<String, Greedy> = serde_json::from_str(&text).unwrap();
    assert_eq!(goldens.len(), float32_checkpoints().len());
    for (name, golden) in goldens {
        let decoder = load(&fixture("decoder").join(&name));
        let rollouts =
            generate_in_any_batch(&decoder, &prompt_rows(&golden.prompts), &settings(Sampling::Greedy, 40, &[]));
        for ((rollout, expected), prompt) in rollouts.iter().zip(&golden.rollouts).zip(&golden.prompts) {
            assert_eq!(&rollout.tokens, expected, "{name}: prompt of {} tokens", prompt.len());
            let full = prompt.len() + 40 > decoder.spec().context_length;
            assert_eq!(rollout.finish, if full { FinishReason::Context } else { FinishReason::Length });
        }
    }
}

#[derive(Deserialize)]
struct WithSettings {
    checkpoint: String,
    settings: serde_json::Value,
    prompts: Vec<Vec<u32>>,
    rollouts: Vec<Vec<u32>>,
}

#[test]
fn generation_config_changes_logits_as_in_transformers_in_any_batch() {
    let text = std::fs::read_to_string(fixture("generate/processors.json")).unwrap();
    let goldens: Vec<WithSettings> = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut keys = std::collections::BTreeSet::new();
    for WithSettings { checkpoint, settings: wanted, prompts, rollouts } in &goldens {
        std::fs::write(folder.path().join("generation_config.json"), wanted.to_string()).unwrap();
        let config = GenerationConfig::read(folder.path()).unwrap();
        assert!(config.unknown.is_empty(), "{wanted}");
        keys.extend(wanted.as_object().unwrap().keys().cloned());
        let stop: Vec<u32> = wanted["eos_token_id"].as_u64().into_iter().map(|id| id as u32).collect();
        let settings = GenerateSettings { processors: config.processors, ..settings(Sampling::Greedy, 40, &stop) };
        let decoder = load(&fixture("decoder").join(checkpoint));
        let made = generate_in_any_batch(&decoder, &prompt_rows(prompts), &settings);
        for ((made, expected), prompt) in made.iter().zip(rollouts).zip(prompts) {
            assert_eq!(&made.tokens, expected, "{checkpoint}, {wanted}: prompt of {} tokens", prompt.len());
        }
    }
    let expected = "bad_words_ids begin_suppress_tokens eos_token_id min_length min_new_tokens no_repeat_ngram_size repetition_penalty \
                    suppress_tokens";
    assert_eq!(keys.into_iter().collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn drawn_tokens_of_changed_logits_are_the_same_in_any_batch() {
    let decoder = load(&fixture("decoder/llama2"));
    let prompts: Vec<Vec<u32>> = (1..12).map(|length| (0..length).map(|token| (7 * token) % 96).collect()).collect();
    let processors = LogitsProcessors {
        repetition_penalty: Some(1.4),
        no_repeat_ngram_size: Some(2),
        suppress_tokens: vec![3, 4],
        ..LogitsProcessors::default()
    };
    let random = Sampling::Random { temperature: 0.8, top_p: 0.9, seed: 5 };
    let settings = GenerateSettings { processors, ..settings(random, 40, &[]) };
    for (rollout, prompt) in generate_in_any_batch(&decoder, &prompt_rows(&prompts), &settings).iter().zip(&prompts) {
        let tokens: Vec<u32> = prompt.iter().chain(&rollout.tokens).copied().collect();
        assert!(!rollout.tokens.contains(&3) && !rollout.tokens.contains(&4));
        let mut pairs: Vec<&[u32]> = tokens.windows(2).collect();
        pairs.sort_unstable();
        assert!(pairs.windows(2).all(|two| two[0] != two[1]), "{tokens:?}");
    }
}

#[test]
fn cached_logits_are_the_uncached_ones() {
    let _guard = no_grad();
    for folder in float32_checkpoints() {
        let decoder = load(&folder);
        let tokens = Golden::open(&folder.join("golden.safetensors")).tensor("tokens");
        let (rows, length) = tokens.size2().unwrap();
        let positions = Positions::from_start(length as usize);
        let end = decoder.advance(&decoder.embed(&tokens).unwrap(), decoder.spec().n_blocks, &positions).unwrap();
        let expected = decoder.logits(&end).unwrap();

        // Row 0 goes in as 5, 1, 1, … tokens, row 1 as 12, 1, 1, …; three at a time after the twentieth.
        let mut cache = decoder.cache(rows as usize, length as usize).unwrap();
        let mut worst: f64 = 0.0;
        let mut take = |taken: [i64; 2]| {
            let starts: Vec<i64> = cache.lengths().iter().map(|&start| start as i64).collect();
            let width = taken.into_iter().max().unwrap();
            let parts: Vec<Tensor> = (0..2)
                .map(|row| {
                    let part = tokens.get(row).narrow(0, starts[row as usize], taken[row as usize]);
                    part.constant_pad_nd([0, width - taken[row as usize]])
                })
                .collect();
            let lengths = taken.map(|taken| taken as usize);
            let logits = decoder.extend(&mut cache, &Tensor::stack(&parts, 0), &lengths).unwrap();
            for row in 0..2 {
                let at = starts[row as usize] + taken[row as usize] - 1;
                worst = worst.max(max_difference(&logits.get(row), &expected.get(row).get(at)));
            }
        };
        take([5, 12]);
        for _ in 0..8 {
            take([1, 1]);
        }
        for _ in 0..6 {
            take([3, 2]);
        }
        let name = folder.file_name().unwrap().display();
        assert!(worst < 1e-4, "{name}: cached logits differ by {worst}");
        println!("{name:32} cached logits within {worst:.1e}");
    }
}

#[test]
fn generation_with_a_cache_computes_the_same_as_without() {
    let _guard = no_grad();
    for folder in float32_checkpoints() {
        let decoder = load(&folder);
        let tokens = Golden::open(&folder.join("golden.safetensors")).tensor("tokens");
        let length = tokens.size()[1];
        let positions = Positions::from_start(length as usize);
        let mut end = decoder.advance(&decoder.embed(&tokens).unwrap(), decoder.spec().n_blocks, &positions).unwrap();
        end.stream = end.stream.select(1, -1).unsqueeze(0);
        let expected = decoder.logits(&end).unwrap().squeeze_dim(0);
        let mut cache = decoder.cache(2, length as usize).unwrap();
        let logits = decoder.extend(&mut cache, &tokens, &[length as usize; 2]).unwrap();
        assert!(logits.equal(&expected), "{}", folder.display());
    }
}

/// Prompts of 1 to 60 tokens from the model's stories.
fn stories() -> (Decoder, Vec<Vec<u32>>) {
    let folder = fixture("stories260K");
    let tokenizer = hayloft_model::Tokenizer::open(&folder).unwrap();
    let bos = tokenizer.bos().unwrap().id;
    let lines = std::fs::read_to_string(folder.join("stories-eval.jsonl")).unwrap();
    let text =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    let texts: Vec<String> = lines.lines().take(24).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let stories = tokenizer.encode_batch(&texts).unwrap().into_iter().zip(0..);
    let prompts = stories.map(|(ids, row)| std::iter::once(bos).chain(ids).take(1 + (row * 13) % 60).collect());
    (load(&folder), prompts.collect())
}

#[test]
fn a_trained_model_generates_the_same_in_any_batch() {
    let (decoder, prompts) = stories();
    let rows = prompt_rows(&prompts);
    let random = Sampling::Random { temperature: 0.9, top_p: 0.95, seed: 7 };
    for sampling in [Sampling::Greedy, random, Sampling::Random { temperature: 1.2, top_p: 1.0, seed: 8 }] {
        let rollouts = generate_in_any_batch(&decoder, &rows, &settings(sampling, 80, &[1]));
        assert!(rollouts.iter().all(|rollout| rollout.tokens.len() == 80 || rollout.finish == FinishReason::Stop));
    }
}

#[test]
fn a_row_ends_at_its_stop_token_and_without_it() {
    let (decoder, prompts) = stories();
    let rows = prompt_rows(&prompts);
    let free = generate(&decoder, &rows, &settings(Sampling::Greedy, 60, &[]), |_| {}).unwrap();
    // A token that some rows generate early, some late, some never.
    let stop = free[0].tokens[9];
    let mut steps = Vec::new();
    let stopped =
        generate(&decoder, &rows, &settings(Sampling::Greedy, 60, &[stop, 511]), |step| steps.push(step)).unwrap();
    let mut ends = std::collections::BTreeSet::new();
    for (free, stopped) in free.iter().zip(&stopped) {
        let end = free.tokens.iter().position(|&token| token == stop || token == 511);
        assert_eq!(stopped.tokens, free.tokens[..end.unwrap_or(60)]);
        assert_eq!(stopped.finish, if end.is_some() { FinishReason::Stop } else { FinishReason::Length });
        ends.insert(end);
    }
    assert!(ends.len() > 3, "{ends:?}");
    // Finished rows are not computed any more.
    let tokens: usize = steps.iter().map(|step| step.tokens).sum();
    let expected = stopped.iter().map(|row| row.tokens.len() + usize::from(row.finish == FinishReason::Stop));
    assert_eq!(tokens, expected.sum::<usize>());
    assert_eq!(tokens + steps.iter().map(|step| step.spared).sum::<usize>(), 60 * rows.len());
}

#[test]
fn each_seed_and_each_row_has_its_own_random_numbers() {
    let (decoder, prompts) = stories();
    let one = |row, seed| {
        let sampling = Sampling::Random { temperature: 1.0, top_p: 1.0, seed };
        let prompt = PromptRow { row, tokens: &prompts[5] };
        generate(&decoder, &[prompt], &settings(sampling, 40, &[]), |_| {}).unwrap().remove(0).tokens
    };
    assert_eq!(one(0, 0), one(0, 0));
    assert_ne!(one(0, 0), one(1, 0));
    assert_ne!(one(0, 0), one(0, 1));
}

#[test]
fn prompts_and_settings_that_cannot_be_are_refused() {
    let decoder = load(&fixture("decoder/llama2"));
    let refuse = |tokens: &[u32], sampling| {
        let prompt = PromptRow { row: 41, tokens };
        generate(&decoder, &[prompt], &settings(sampling, 4, &[]), |_| {}).unwrap_err().to_string()
    };
    let message = refuse(&[1; 129], Sampling::Greedy);
    assert!(message.contains("row 41") && message.contains("1 to 128") && message.contains("129"), "{message}");
    assert!(refuse(&[], Sampling::Greedy).contains("got 0"));
    for (temperature, top_p, words) in
        [(0.0, 1.0, "temperature"), (f64::NAN, 1.0, "temperature"), (1.0, 0.0, "top-p"), (1.0, 1.1, "top-p")]
    {
        let message = refuse(&[1], Sampling::Random { temperature, top_p, seed: 0 });
        assert!(message.contains(words) && message.contains("above 0"), "{message}");
    }
    let full = PromptRow { row: 0, tokens: &[1; 128] };
    let rollouts = generate(&decoder, &[full], &settings(Sampling::Greedy, 4, &[]), |_| {}).unwrap();
    assert_eq!(rollouts, [Rollout { tokens: Vec::new(), finish: FinishReason::Context }]);
}
