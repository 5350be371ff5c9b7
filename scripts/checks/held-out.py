#!/usr/bin/env python3
"""Trains SAEs on activations with attention sinks, with the last sequences held out.

Proves: training's figures on held-out sequences are those of `evaluate run` and SAELens
Needs: SAELens environment, LibTorch
Takes: 3 minutes

  scripts/check held-out [--programs DIR]     built programs [default: builds them in debug]

The model is stories260K with the embedding of BOS scaled until BOS rows hold most of the squared norm, as in many models of 100
million parameters and more. Passes if explained variance, L0 and the share of latents that never fire on the held-out sequences
agree to 1e-5 between training.jsonl, cfg.json, `evaluate run` on a cache of these sequences, and SAELens. Prints the table.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("goldens")
sys.path.append(str(ROOT / "examples"))
# More threads do not speed up matrices this small.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402

warnings.filterwarnings("ignore")
os.environ["TQDM_DISABLE"] = "1"

from read_cache import read_site, to_torch  # noqa: E402
from sae_lens import SAE  # noqa: E402
from sae_lens.evals import ExplainedVarianceCalculator  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

SITE = "blocks.3.hook_resid_pre"
BOS, BOS_SCALE = 1, 160
WIDTH, BATCH, HELD_OUT = 512, 1024, 20_000
TOLERANCE = 1e-5
NAMES = ["EV", "EV pooled", "L0", "dead share"]

# Name, steps, flags. A BatchTopK's threshold is a running mean from 0 on: after 100 steps it is far from its limit.
CASES = [
    ("standard", 300, "standard --l1 2"),
    ("topk", 300, "topk --k 16"),
    ("batchtopk, 100 steps", 100, "batchtopk --k 16"),
    ("the same, --threshold held-out", 100, "batchtopk --k 16 --threshold held-out"),
    ("batchtopk, 1000 steps", 1000, "batchtopk --k 16"),
    ("jumprelu", 300, "jumprelu --l0 1"),
    ("gated", 300, "gated --l1 2"),
    ("topk, without the sinks", 300, "topk --k 16 --section text"),
]


def run(*command):
    """The output of a command, on stdout and stderr."""
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout, done.stderr


def make_model(folder):
    """stories260K with a long embedding of BOS."""
    shutil.copytree(ROOT / "tests/fixtures/stories260K", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][BOS] *= BOS_SCALE
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@torch.no_grad()
def by_saelens(folder, x):
    """SAELens's explained_variance_legacy with all rows as one batch, its explained_variance, L0, and the share of latents that fire in
    no row, of an SAE loaded by SAELens."""
    sae = SAE.load_from_disk(folder)
    latents = sae.encode(x)
    reconstruction = sae.decode(latents)
    legacy = 1 - (x - reconstruction).pow(2).sum(-1) / (x - x.mean(0)).pow(2).sum(-1)
    pooled = ExplainedVarianceCalculator()
    for own, rows in zip(reconstruction.split(1000), x.split(1000)):
        pooled.add_batch(sae_output=own, hidden_acts=rows)
    fired = latents > 0
    l0, dead = fired.sum(-1).double().mean().item(), 1 - fired.any(0).double().mean().item()
    return [legacy.double().mean().item(), pooled.compute(), l0, dead]


def by_evaluation(evaluate, folder, cache, section):
    results, _ = run(evaluate, "run", "--cache", cache, "--sae", folder, "--section", section, "--json")
    result = json.loads(results)[0]
    dead = result["latents"]["dead"] / WIDTH
    return [result["explained_variance"], result["explained_variance_pooled"], result["l0"], dead]


def of(figures):
    return [figures["explained_variance"], figures["explained_variance_pooled"], figures["l0"], figures["dead_fraction"]]


def check(built, folder):
    """Prints the tables; whether a figure differs."""
    evaluate, cache = built / "evaluate", folder / "train"
    data = ROOT / "data-manifests/stories260K-train.toml"
    run(built / "harvest", "run", "--model", make_model(folder / "model"), "--data", data, "--site", SITE, "--out", cache)
    x = to_torch(read_site(cache, SITE)).float()
    paths = sorted(cache.glob("shards/[0-9]*/tokens.parquet"), key=lambda path: int(path.parent.name))
    tables = [pq.read_table(path, columns=["section", "sequence"], partitioning=None) for path in paths]
    sections = np.concatenate([table["section"].cast("string").to_numpy(zero_copy_only=False) for table in tables])
    sequences = np.concatenate([table["sequence"].to_numpy() for table in tables])
    norms = x.norm(dim=-1).numpy()
    is_bos = sections == "bos"
    share = (norms[is_bos] ** 2).sum() / (norms**2).sum()
    print(f"{len(x)} rows; mean norm of BOS {norms[is_bos].mean():.2f}, of text {norms[~is_bos].mean():.2f}")
    print(f"BOS rows are {100 * is_bos.mean():.2f}% of the rows and hold {100 * share:.1f}% of the squared norm")
    failed = False
    for number, (name, steps, flags) in enumerate(CASES):
        out = folder / f"sae-{number}"
        line = (
            f"train --site {SITE} --width {WIDTH} --batch {BATCH} --tokens {BATCH * steps} --learning-rate 1e-3 --scale auto "
            f"--held-out {HELD_OUT} --held-out-every 50 --architecture {flags}"
        )
        printed, said = run(evaluate, *line.split(), "--cache", cache, "--out", out)
        summary = json.loads((out / "training.json").read_text())
        first = summary["held_out"]["sequences"]
        section = "text" if "--section" in flags else "all"
        held = folder / f"held-{section}"
        if not held.exists():
            run(built / "store", "select", cache, "--sequences", first, "--out", held)
        is_held = (sequences >= int(first.removesuffix(".."))) & ((sections == "text") | (section == "all"))
        record = json.loads((out / "training.jsonl").read_text().splitlines()[-1])
        metadata = json.loads((out / "cfg.json").read_text())["metadata"]
        figures = {
            "training.jsonl": of(record["held_out"]),
            "cfg.json": of(metadata["hayloft"]["held_out"]),
            "evaluate run": by_evaluation(evaluate, out, held, section),
            "SAELens": by_saelens(out, x[is_held]),
        }
        rows = np.array(list(figures.values()))
        apart = np.abs(rows - rows[-1]).max(axis=0)
        same_rows = summary["held_out"]["rows"] == int(is_held.sum())
        is_same = (apart <= TOLERANCE * np.maximum(1, np.abs(rows[-1]))).all() and same_rows and metadata["l0"] == rows[0][2]
        failed |= not is_same
        print(f"\n{name}: sequences {first} held out, {summary['held_out']['rows']} rows; L0 of the last batch in training {record['l0']:.2f}")
        print(f"{'':16}" + "".join(f"{heading:>13}" for heading in NAMES))
        for source, own in figures.items():
            print(f"{source:16}" + "".join(f"{figure:13.6f}" for figure in own))
        print(f"{'apart':16}" + "".join(f"{distance:13.1e}" for distance in apart) + ("" if is_same else "  <- differs"))
        print("\n".join(f"    {words}" for words in printed.splitlines() if "mixing" not in words))
        print("\n".join(f"    {words.strip()}" for words in said.splitlines() if "WARN" in words), flush=True)
    return failed


def main():
    built = programs.asked(__doc__, *programs.ALL_TARGETS)
    with tempfile.TemporaryDirectory(prefix="hayloft-held-out-") as folder:
        failed = check(built, Path(folder))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
