#!/usr/bin/env python3
"""Compares the demo's evaluations on chat data with transformers and SAELens. Run scripts/demo first.

Proves: the demo's figures on conversations are those of transformers and SAELens
Needs: SAELens environment, the output of scripts/demo
Takes: minutes

  scripts/check alpaca [DIR]        DIR is the demo's output [default: target/demo]

Only the tokens and the sections come from the demo's cache: residuals, reconstructions and all three losses are computed here.
Every column must agree to 2e-4, L0 to 2e-3, counts exactly. Prints each compared cell in a table, and fails if one is beyond its
tolerance.
"""

import json
import math
import os
import sys
import warnings
from pathlib import Path

import environment

ROOT = Path(__file__).resolve().parents[2]
environment.enter("goldens")
sys.path.insert(0, str(ROOT / "scripts/goldens"))

import torch  # noqa: E402

warnings.filterwarnings("ignore")

from demo_results import COLUMNS, COUNTS, compare, read_cache  # noqa: E402
from evaluation import evaluate, forward  # noqa: E402
from sae_lens import SAE  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def main():
    if len(sys.argv) > 2:
        sys.exit("usage: scripts/check alpaca [DIR]")
    demo = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else ROOT / "target/demo"
    # The results name SAEs by paths relative to the repository.
    os.chdir(ROOT)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained("demo/chat", dtype=torch.float32).eval()
    sequences, sections = read_cache(demo / "caches" / "alpaca-chat")
    results = [result for path in sorted(demo.glob("results/alpaca-chat*/results.json")) for result in json.loads(path.read_text())]
    if not results:
        sys.exit(f"error: {demo} has no results/alpaca-chat*/results.json. Run scripts/demo first")
    block = int(results[0]["site"].split(".")[1])
    residuals = torch.cat([forward(model, block, tokens)[0] for tokens in sequences]).double()
    scale = math.sqrt(residuals.shape[1]) / residuals.norm(dim=-1).mean().item()
    print(f"{len(sequences)} sequences, {len(residuals)} tokens, sqrt(d_model) / mean norm = {scale:.6f}")

    widest, failed = 0.0, 0
    for result in results:
        folder = result["provenance"]["sae"]["folder"]
        name = f"{Path(folder).name}, {result['section']}"
        if result["scale_source"] != "given" and abs(result["scale"] / scale - 1) > 1e-6 and result["scale"] != 1:
            sys.exit(f"error: {name}: scale {result['scale']}, expected {scale}")
        masks = [torch.tensor([result["section"] in ("all", each) for each in own]) for own in sections]
        sae = SAE.load_from_disk(folder, device="cpu").eval()
        outlier_norm = result["outlier_norm"] or math.inf
        expected = evaluate(model, block, sae, sequences, masks, scale=result["scale"], outlier_norm=outlier_norm)
        beyond, difference = compare(name, result, expected)
        failed, widest = failed + beyond, max(widest, difference)
    print(f"{len(results)} results × {len(COLUMNS + COUNTS)} columns: {failed} beyond tolerance; largest difference {widest:.2e}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
