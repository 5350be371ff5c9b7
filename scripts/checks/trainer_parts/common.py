"""Caches of the demo's models, and how comparisons are told."""

import contextlib
import importlib.metadata
import os
from pathlib import Path

import programs
import torch

import hayloft as hl

ROOT = Path(__file__).resolve().parents[3]
SITES = ["blocks.2.hook_resid_pre", "blocks.3.hook_resid_pre", "blocks.4.hook_resid_pre"]
SITE = SITES[1]
CONTEXT, D_MODEL, WIDTH = 512, 128, 256
BATCH, STEPS, RATE = 1024, 50, 1e-3
BUFFER = 20000
"""Rows of the mixing buffer, fewer than the cache has."""
failures = []


def check(holds, message):
    print(f"{'ok' if holds else 'FAILED'}: {message}", flush=True)
    if not holds:
        failures.append(message)


def versions(*packages):
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in (*packages, "torch")), flush=True)


def weights(sae):
    return {name: value.clone() for name, value in sae.state_dict().items()}


def same(left, right):
    """Whether two dicts of tensors are equal to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def silently(function, *arguments, **named):
    """Calls a function without its lines and bars."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        return function(*arguments, **named)


def refusal(function, *arguments, **named):
    """The message with which a call is refused, or none."""
    try:
        silently(function, *arguments, **named)
    except hl.Error as error:
        return str(error)
    return ""


class Caches:
    """Caches of the demo's models on the same text, in four shards. Each is made when it is first asked for."""

    def __init__(self, built, folder):
        self.built, self.folder = built, folder

    def run(self, program, *arguments):
        return programs.quietly(self.built / program, *arguments, cwd=ROOT)

    def harvested(self, model, dtype="f32", sites=(SITE,)):
        out = self.folder / f"{model}-{dtype}-{len(sites)}"
        if not out.exists():
            how = ["--dtype", dtype, "--shard-tokens", 16384, "--row-group-rows", 4096, "--out", out]
            where = [word for site in sites for word in ("--site", site)]
            data = "demo/experiment/text-heldout.toml"
            self.run("harvest", "run", "--model", f"demo/{model}", "--data", data, *where, *how)
        return hl.open(out)

    def of_saelens(self, cache):
        """The folder of a cache's activations as SAELens stores them."""
        out = self.folder / "saelens"
        if not out.exists():
            self.run("store", "export", cache.place, "--to", "saelens", "--site", SITE, "--out", out)
        return out
