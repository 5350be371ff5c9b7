#!/usr/bin/env python3
"""Trains each architecture on the activations of stories260K, with `evaluate train` and with SAELens's trainer.

Proves: `evaluate train` trains SAEs as good as SAELens's trainer does
Needs: SAELens environment, LibTorch
Takes: 10 minutes

  scripts/check training [--programs DIR]     built programs, with `examples/reconstruct` [default: builds them in debug]

Tokens, batch, learning rate and coefficients are equal. Passes if SAELens loads the trained SAEs and reconstructs the same to 1e-5,
and if explained variance and L0 on held-out stories are within 3% of SAELens's. Prints the table.
"""

import json
import os
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
# More threads do not speed up matrices this small, in either trainer.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

warnings.filterwarnings("ignore")
os.environ["TQDM_DISABLE"] = "1"

from read_cache import read_activations  # noqa: E402
from sae_lens import SAE  # noqa: E402
from sae_lens.config import SAETrainerConfig  # noqa: E402
from sae_lens.saes.sae import TrainingSAE  # noqa: E402
from sae_lens.training.sae_trainer import SAETrainer  # noqa: E402

SITE = "blocks.3.hook_resid_pre"
D_MODEL, WIDTH = 64, 512
BATCH, STEPS, RATE = 1024, 1000, 1e-3
WARM_UP, DECAY, SPARSITY_WARM_UP = 100, 300, 200

# Name, our flags, SAELens's fields, seeds. With other initial weights and batch orders, either trainer's L0 of a JumpReLU with an
# L0 penalty differs by 2%, so means over seeds are compared there.
CASES = [
    ("standard", "standard --l1 0.6", {"architecture": "standard", "l1_coefficient": 0.6}, (0,)),
    ("topk", "topk --k 16", {"architecture": "topk", "k": 16}, (0,)),
    ("batchtopk", "batchtopk --k 16", {"architecture": "batchtopk", "k": 16}, (0,)),
    ("jumprelu", "jumprelu --l0 0.5", {"architecture": "jumprelu", "l0_coefficient": 0.5}, (0, 1, 2)),
    (
        "jumprelu-tanh",
        "jumprelu --l0 0.5 --penalty tanh",
        {"architecture": "jumprelu", "l0_coefficient": 0.5, "jumprelu_sparsity_loss_mode": "tanh"},
        (0,),
    ),
    ("gated", "gated --l1 0.6", {"architecture": "gated", "l1_coefficient": 0.6}, (0,)),
]


def rows(cache):
    paths = sorted(Path(cache, "shards").glob(f"[0-9]*/{SITE}.parquet"), key=lambda path: int(path.parent.name))
    return torch.from_numpy(np.concatenate([read_activations(path).view(np.float32) for path in paths]))


def shuffled(x, seed):
    """Epoch after epoch, each in a random order; batches cross the ends of epochs."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        yield x[order[:BATCH]]
        order = order[BATCH:]


def train_by_saelens(fields, seed, x, folder):
    torch.manual_seed(seed)
    warm = {"l1_warm_up_steps": SPARSITY_WARM_UP} if "l1_coefficient" in fields else {}
    warm |= {"l0_warm_up_steps": SPARSITY_WARM_UP} if "l0_coefficient" in fields else {}
    config = {"d_in": D_MODEL, "d_sae": WIDTH, "dtype": "float32", "device": "cpu", "metadata": {"hook_name": SITE}}
    sae = TrainingSAE.from_dict(config | fields | warm)
    settings = SAETrainerConfig(
        total_training_samples=BATCH * STEPS,
        train_batch_size_samples=BATCH,
        lr=RATE,
        lr_end=RATE / 10,
        lr_warm_up_steps=WARM_UP,
        lr_decay_steps=DECAY,
    )
    SAETrainer(settings, sae, shuffled(x, seed)).fit()
    sae.save_inference_model(folder)


def train_by_hayloft(flags, seed, evaluate, cache, folder):
    line = (
        f"train --site {SITE} --width {WIDTH} --batch {BATCH} --tokens {BATCH * STEPS} --learning-rate {RATE} "
        f"--warm-up {WARM_UP} --decay {DECAY} --seed {seed} --architecture {flags}"
    )
    if "topk" not in flags:
        line += f" --sparsity-warm-up {SPARSITY_WARM_UP}"
    programs.quietly(evaluate, *line.split(), "--cache", cache, "--out", folder)


@torch.no_grad()
def figures(folder, x):
    """L0, and explained variance as the mean over tokens, of an SAE loaded by SAELens."""
    sae = SAE.load_from_disk(folder)
    latents = sae.encode(x)
    reconstruction = sae.decode(latents)
    errors = (x - reconstruction).pow(2).sum(-1)
    deviations = (x - x.mean(0)).pow(2).sum(-1)
    explained = (1 - errors / deviations).mean().item()
    return reconstruction, (latents > 0).float().sum(-1).mean().item(), explained


def check(built, folder):
    """Prints the table; whether a figure is too far from SAELens's."""
    for part in ("train", "eval"):
        data = ["--data", ROOT / f"data-manifests/stories260K-{part}.toml", "--site", SITE, "--out", folder / part]
        programs.quietly(built / "harvest", "run", "--model", ROOT / "tests/fixtures/stories260K", *data)
    x, held_out = rows(folder / "train"), rows(folder / "eval")
    save_file({"x": held_out}, folder / "rows.safetensors")
    print(f"{len(x)} rows to train on, {len(held_out)} held out; {BATCH * STEPS} tokens, batch {BATCH}, rate {RATE}")
    print("explained variance is the mean over tokens; load: the largest distance of reconstructions to SAELens's")
    print(f"{'':14} {'L0 SAELens':>11} {'hayloft':>9} {'ratio':>7}   {'EV SAELens':>10} {'hayloft':>8} {'ratio':>7}   load")
    failed = False
    for name, flags, fields, seeds in CASES:
        distance, theirs, ours = 0.0, [], []
        for seed in seeds:
            by_saelens, by_hayloft = folder / f"{name}-{seed}.saelens", folder / f"{name}-{seed}.hayloft"
            train_by_saelens(fields, seed, x, by_saelens)
            train_by_hayloft(flags, seed, built / "evaluate", folder / "train", by_hayloft)
            theirs.append(figures(by_saelens, held_out)[1:])
            reconstruction, *own = figures(by_hayloft, held_out)
            ours.append(own)
            answer = folder / f"{name}-{seed}.safetensors"
            subprocess.run([built / "examples" / "reconstruct", by_hayloft, folder / "rows.safetensors", answer], check=True)
            distance = max(distance, (load_file(answer)["reconstruction"] - reconstruction).abs().max().item())
        (l0_theirs, ev_theirs), (l0_ours, ev_ours) = np.mean(theirs, axis=0), np.mean(ours, axis=0)
        l0, ev = l0_ours / l0_theirs, ev_ours / ev_theirs
        is_close = abs(l0 - 1) < 0.03 and abs(ev - 1) < 0.03 and distance < 1e-5
        failed |= not is_close
        print(
            f"{name:14} {l0_theirs:11.4f} {l0_ours:9.4f} {l0:7.4f}   {ev_theirs:10.4f} {ev_ours:8.4f} {ev:7.4f}   "
            f"{distance:.1e}{'' if is_close else '  <- differs'}",
            flush=True,
        )
    mixing = json.loads((folder / "standard-0.hayloft" / "training.json").read_text())["mixing"]
    print(
        f"mixing: {mixing['row_groups_per_batch']:.2f} row groups in a batch, "
        f"{mixing['row_groups_per_batch_if_perfect']:.2f} by a perfect shuffle"
    )
    return failed


def main():
    built = programs.asked(__doc__, *programs.ALL_TARGETS, names=("harvest", "evaluate", "examples/reconstruct"))
    with tempfile.TemporaryDirectory(prefix="hayloft-training-") as folder:
        failed = check(built, Path(folder))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
