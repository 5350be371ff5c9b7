#!/usr/bin/env python3
"""Compares `evaluate run --kl` with SAELens's evaluation, on the same SAEs, model and tokens, and prints both.

Proves: every figure of an evaluation is SAELens's
Needs: SAELens environment, LibTorch
Takes: minutes

  scripts/check saelens-metrics [--programs DIR]     built programs [default: builds them in debug]

Passes if KL, cross-entropy, their scores, both explained variances, L0, L1, cosine similarity, ratio of norms, relative bias and
error agree to 1e-6 of their size (or of 1, where they are smaller), and the loss recovered to 1e-5.
scripts/goldens/saelens_metrics.py calls SAELens.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("goldens")
sys.path.insert(0, str(ROOT / "scripts/goldens"))

os.environ["TQDM_DISABLE"] = "1"

import torch  # noqa: E402

import datasets  # noqa: E402
from sae_lens import SAE, CacheActivationsRunner, CacheActivationsRunnerConfig  # noqa: E402

from saelens_metrics import BOS, D_MODEL, LAST, MODEL, NAMES, SITE, figures, load_model, make_sae, make_tokens, save  # noqa: E402

datasets.disable_progress_bars()
PROGRAMS = programs.asked(__doc__, *programs.ALL_TARGETS, names=("store", "evaluate"))
SCRATCH = tempfile.TemporaryDirectory(prefix="hayloft-metrics-")
FOLDER = Path(SCRATCH.name)
SEQUENCES, POSITIONS, BATCH = 96, 48, 8

# The tolerance of a figure, relative to SAELens's or to 1, whichever is larger: both sides compute in float32, with steps of 1e-7
# of a number. The loss recovered divides by the gap between two losses, here a tenth of either, so its tolerance is larger by that.
TOLERANCE = 1e-6
LOOSER = {"ce_recovered": 1e-5}

# Every architecture that SAELens evaluates, and both ways of scaling the input.
MADE = {
    "topk": ("topk", {"k": 9}),
    "jumprelu": ("jumprelu", {}),
    "gated": ("gated", {}),
    "standard-layer-norm": ("standard", {"normalize_activations": "layer_norm"}),
    "jumprelu-scaled": ("jumprelu", {"normalize_activations": "expected_average_only_in"}),
}


def run(program, *arguments):
    finished = subprocess.run([PROGRAMS / program, *map(str, arguments)], capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}:\n{finished.stderr}")
    return finished.stdout


def make_cache(model, tokens):
    """SAELens's activations of these tokens, imported."""
    written, cache = FOLDER / "activations", FOLDER / "cache"
    config = CacheActivationsRunnerConfig(
        dataset_path="tokens",
        model_name="tiny-llama",
        model_batch_size=BATCH,
        hook_name=SITE,
        d_in=D_MODEL,
        training_tokens=tokens.numel(),
        context_size=POSITIONS,
        new_cached_activations_path=str(written),
        shuffle=False,
        dtype="float32",
        device="cpu",
        # One buffer of exactly these tokens; a byte more, because SAELens rounds down.
        buffer_size_gb=(tokens.numel() * D_MODEL * 4 + 1) / 1e9,
        prepend_bos=False,
        streaming=False,
    )
    # The model is in memory; SAELens would load it by name.
    with patch("sae_lens.cache_activations_runner.load_model", return_value=model):
        CacheActivationsRunner(config, override_dataset=datasets.Dataset.from_dict({"tokens": tokens.tolist()})).run()
    run("store", "import", written, "--from", "saelens", "--out", cache, "--checkpoint", MODEL, "--precision", "f32")
    return cache


def make_saes(model):
    """Folders by name."""
    folders = {"standard": MODEL / "sae"}
    for seed, (name, (architecture, options)) in enumerate(MADE.items()):
        folders[name] = FOLDER / name
        save(make_sae(architecture, 10 * seed, model, **options), folders[name])
    return folders


def ours(result, name):
    """A figure of ours: `kl.kl` is `kl` in `kl`."""
    for part in name.split("."):
        result = result[part]
    return result


def without_first_position(result):
    """Our result with losses at the first position removed from the means, as SAELens does with tokens that it ignores. KL is not
    kept by position, so it cannot be corrected."""
    sums, positions = result["sums"], result["sums"]["positions"]
    tokens = sums["loss_tokens"] - positions["loss_tokens"][0]
    mean = lambda name: (sums[name] - positions[name][0]) / tokens  # noqa: E731
    clean, spliced, zero = mean("clean_loss"), mean("sae_loss"), mean("zero_loss")
    losses = {"ce_clean": clean, "ce_sae": spliced, "ce_zero": zero, "ce_recovered": (zero - spliced) / (zero - clean)}
    return {**result, **losses, "kl": None}


def compare(title, result, theirs):
    """Prints a table; returns the names of figures beyond their tolerance."""
    print(f"\n{title}: L0 {result['l0']:.2f}, scale {result['scale']:.4f}")
    print(f"  {'ours':28} {'SAELens':28} {'ours':>13} {'SAELens':>13} {'apart':>10} {'allowed':>8}")
    apart = []
    for name, their_name in NAMES.items():
        if result["kl"] is None and name.startswith("kl."):
            continue
        mine, other = ours(result, name), theirs[their_name]
        distance, allowed = abs(mine - other) / max(1, abs(other)), LOOSER.get(name, TOLERANCE)
        print(f"  {name:28} {their_name:28} {mine:13.6f} {other:13.6f} {distance:10.1e} {allowed:8.0e}")
        if not distance <= allowed:
            apart.append(f"{title}: {name}")
    return apart


def main():
    torch.set_grad_enabled(False)
    model = load_model()
    tokens = make_tokens(SEQUENCES, POSITIONS, 1)
    cache = make_cache(model, tokens)
    folders = make_saes(model)
    arguments = [argument for folder in folders.values() for argument in ("--sae", folder)]
    results = json.loads(run("evaluate", "run", "--model", MODEL, "--cache", cache, "--kl", "--json", *arguments))
    print(f"{SEQUENCES} sequences of {POSITIONS} tokens, {results[0]['loss_tokens']} losses, {results[0]['activation_rows']} activations")
    apart = []
    for (name, folder), result in zip(folders.items(), results, strict=True):
        sae = SAE.load_from_disk(folder)
        apart += compare(name, result, figures(model, sae, tokens, [LAST]))
    more = json.loads(run("evaluate", "run", "--model", MODEL, "--cache", cache, "--exclude", "bos", "--json", *arguments))
    for (name, folder), result in zip(folders.items(), more, strict=True):
        theirs = figures(model, SAE.load_from_disk(folder), tokens, [BOS, LAST], left_out=[BOS])
        apart += compare(f"{name}, BOS left out by --exclude bos", without_first_position(result), theirs)
    print(f"\nWhat SAELens gives otherwise for {name}, and why it is not compared:")
    usual, batched = figures(model, sae, tokens, None), figures(model, sae, tokens, [LAST], BATCH)
    print(f"  KL over all positions, the last of each sequence too: {usual['kl_div_with_sae']:.6f}")
    print(f"  mean of {SEQUENCES // BATCH} batches' own relative bias: {batched['relative_reconstruction_bias']:.6f}")
    print(f"  explained_variance_legacy against each batch's own mean: {batched['explained_variance_legacy']:.6f}")
    if apart:
        sys.exit(f"further apart than allowed: {', '.join(apart)}")
    looser = ", ".join(f"{name} to {allowed:.0e}" for name, allowed in LOOSER.items())
    print(f"\n{len(folders)} SAEs, BOS counted and left out: every figure agrees with SAELens's to {TOLERANCE:.0e}, {looser}")


if __name__ == "__main__":
    main()
