"""A cache that is filled by transformers' own hidden states beside the harvest of the same plan, and SAEs as tensors."""

import os
import shutil
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM

import hayloft as hl
from trainer_parts.common import ROOT, SITE, check, versions

MODEL = ROOT / "demo/base"
SAE = ROOT / "demo/saes/base"
FIGURES = ("l0", "mse", "explained_variance", "ce_clean", "ce_sae", "ce_recovered")
DIGITS = 5
"""Significant digits of a figure: more than a table shows."""


def run(caches):
    versions("transformers")
    harvested = caches.harvested("base")
    ours = written(caches.folder / "written", harvested)
    activations(harvested, ours)
    figures(harvested, ours)
    tests(caches)


def written(folder, harvested):
    """A cache of the same plan, filled from transformers in float32."""
    shutil.copytree(f"{harvested.place}/plan", folder / "plan")
    shutil.copy(f"{harvested.place}/plan.json", folder)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    block = int(SITE.split(".")[1])
    with hl.Writer(folder, sites=[SITE], model=MODEL, dtype="f32", predictions="loss") as writer, torch.no_grad():
        for batch in writer.batches(8):
            said = model(batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
            writer.write(batch, {SITE: said.hidden_states[block]}, logits=said.logits)
    return hl.open(folder)


def activations(harvested, ours):
    expected, got = harvested[SITE][:], ours[SITE][:]
    apart = float((got - expected).abs().max() / expected.abs().max())
    check(apart < 1e-5, f"hl.Writer with transformers: activations of {len(got)} rows differ by at most {apart:.1e} of the largest")
    losses = [torch.from_numpy(cache.tokens["loss"].copy()) for cache in (harvested, ours)]
    apart = float((losses[0] - losses[1]).abs().nan_to_num().max())
    same = torch.equal(losses[0].isnan(), losses[1].isnan())
    check(same and apart < 1e-4, f"hl.Writer with transformers: losses differ by at most {apart:.1e} nats")


def figures(harvested, ours):
    """What evaluate prints of both caches, with the model's upper half."""
    rows = [hl.evaluate(cache, SAE, model=MODEL, outlier_norm=20, frame="rows")[0] for cache in (harvested, ours)]
    for name in FIGURES:
        expected, got = (f"{row[name]:.{DIGITS}g}" for row in rows)
        check(expected == got, f"{name} of the harvest {expected}, of the written cache {got}")


def tests(caches):
    """The package's own tests of tensors and of SAEs, against the goldens of the libraries that published them."""
    run = [sys.executable, "-m", "unittest", "tests.test_torch", "tests.test_sae"]
    done = subprocess.run(run, cwd=ROOT / "python", env=dict(os.environ), capture_output=True, text=True)
    check(done.returncode == 0, f"tests with torch: {done.stderr.strip().splitlines()[-1]}")
    if done.returncode != 0:
        print(done.stderr)
