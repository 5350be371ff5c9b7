"""Goldens of generation: what transformers' own `generate` says after prompts of several lengths, one at a time.

Writes tests/fixtures/generate/greedy.json: for each float32 checkpoint under tests/fixtures/decoder (made by decoder.py, which
runs before), `prompts` and `rollouts`, lists of token ids. Greedy, with transformers' cache, no stop token, up to the end of the
context where that comes first. The windows of 8 tokens are passed many times over.

Run by scripts/goldens/run, with the versions in requirements.txt. A second run gives the same bytes.
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "tests" / "fixtures" / "decoder"
OUT = ROOT / "tests" / "fixtures" / "generate" / "greedy.json"
LENGTHS = [1, 3, 8, 9, 21, 100]
NEW_TOKENS = 40


def rollout(model, prompt: list[int]) -> list[int]:
    room = model.config.max_position_embeddings - len(prompt)
    tokens = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=min(NEW_TOKENS, room),
        pad_token_id=0,
    )
    return tokens[0, len(prompt) :].tolist()


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    goldens = {}
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
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(golden)}" for name, golden in goldens.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
