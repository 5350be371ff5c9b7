"""Goldens of generation: the output of transformers' `generate` after prompts of several lengths, one at a time.

Writes tests/fixtures/generate/greedy.json: for each float32 checkpoint under tests/fixtures/decoder (made by decoder.py, which
runs before), `prompts` and `rollouts`, lists of token ids. Greedy, with transformers' cache, no stop token, up to the end of the
context at most. The rollouts pass the windows of 8 tokens many times.

Writes tests/fixtures/generate/processors.json: a list of the same with settings of generation_config.json that change greedy decoding
too, each of them alone and some together; `settings` is the file's content. The excluded tokens are among those that the model
generates without the settings. Settings that change nothing for a checkpoint are left out.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "tests" / "fixtures" / "decoder"
OUT = ROOT / "tests" / "fixtures" / "generate"
LENGTHS = [1, 3, 8, 9, 21, 100]
NEW_TOKENS = 40


# A prompt that leads to repetition, and one that does not.
WITH_SETTINGS = ["gemma", "llama2"]


def rollout(model, prompt: list[int], **settings) -> list[int]:
    room = model.config.max_position_embeddings - len(prompt)
    tokens = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=min(NEW_TOKENS, room),
        pad_token_id=0,
        **settings,
    )
    new = tokens[0, len(prompt) :].tolist()
    return new[:-1] if new and new[-1] == settings.get("eos_token_id") else new


def settings_of(rollouts: list[list[int]]) -> list[dict]:
    """Settings that exclude tokens which the model generates without them."""
    counts = Counter(token for tokens in rollouts for token in tokens)
    common = [token for token, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    first = sorted({tokens[0] for tokens in rollouts})
    pairs = sorted({(left, right) for tokens in rollouts for left, right in zip(tokens, tokens[1:])})[:12]
    end = common[0]
    return [
        {"repetition_penalty": 1.3},
        {"repetition_penalty": 0.8},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3},
        {"suppress_tokens": common[:3]},
        {"begin_suppress_tokens": first},
        {"bad_words_ids": [[common[1]], *map(list, pairs)]},
        {"eos_token_id": end, "bad_words_ids": [[end], [common[1]]]},
        {"eos_token_id": end, "min_new_tokens": 7},
        {"eos_token_id": end, "min_length": 12},
        {"eos_token_id": end, "min_length": 30, "min_new_tokens": 3},
        {"repetition_penalty": 1.1, "no_repeat_ngram_size": 4, "suppress_tokens": common[:1], "begin_suppress_tokens": first},
    ]


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    goldens, with_settings = {}, []
    for seed, folder in enumerate(sorted(CHECKPOINTS.iterdir())):
        config = json.loads((folder / "config.json").read_text())
        if config.get("dtype", config.get("torch_dtype")) != "float32":
            continue
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        model.generation_config.eos_token_id = None
        generator = torch.Generator().manual_seed(seed)
        prompts = [torch.randint(0, 96, (length,), generator=generator).tolist() for length in LENGTHS]
        goldens[folder.name] = {"prompts": prompts, "rollouts": [rollout(model, prompt) for prompt in prompts]}
        distinct = len({token for tokens in goldens[folder.name]["rollouts"] for token in tokens})
        print(f"{folder.name:20} {distinct} distinct tokens in the rollouts")
        if folder.name in WITH_SETTINGS:
            greedy = goldens[folder.name]["rollouts"]
            for settings in settings_of(greedy):
                rollouts = [rollout(model, prompt, **settings) for prompt in prompts]
                if rollouts == greedy:
                    continue
                with_settings.append({"checkpoint": folder.name, "settings": settings, "prompts": prompts, "rollouts": rollouts})
    OUT.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(golden)}" for name, golden in goldens.items()]
    (OUT / "greedy.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    (OUT / "processors.json").write_text("[\n" + ",\n".join(map(json.dumps, with_settings)) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
