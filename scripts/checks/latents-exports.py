#!/usr/bin/env python3
"""Reads exports of latents by the packages that they are for.

Proves: delphi explains and scores from an export of latents, and SAEDashboard reads its files
Needs: Rust, trainers environment (3 GB), LibTorch
Takes: a minute

  scripts/check latents-exports [--programs DIR]     built programs [default: builds them in debug]

On a small real model: delphi's cache of `evaluate latents --delphi` is compared with the one that delphi itself makes on
transformers' model with SAELens's encoder; then delphi's loader, samplers and its detection scorer run on ours, with a client
that answers without a model. delphi imports vLLM for another client; a mock stands for it.
Files of `Latents.to_neuronpedia` are read by SAEDashboard's own classes.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("trainers")

for module in ("vllm", "vllm.distributed", "vllm.distributed.parallel_state", "vllm.inputs"):
    sys.modules[module] = mock.MagicMock()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from delphi.clients.client import Client, Response  # noqa: E402
from delphi.config import ConstructorConfig, SamplerConfig  # noqa: E402
from delphi.latents import LatentCache, LatentDataset  # noqa: E402
from delphi.scorers import DetectionScorer  # noqa: E402
sys.path.insert(0, str(ROOT / "python"))
from python import install  # noqa: E402
from sae_dashboard.neuronpedia.neuronpedia_dashboard import NeuronpediaDashboardBatch  # noqa: E402
from sae_lens import SAE  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: E402

MODEL = ROOT / "tests/fixtures/stories260K"
SITE, LAYER, CONTEXT, TOKENS = "blocks.3.hook_resid_pre", "model.layers.2", 128, 65536
NAME = "standard"
failures = []


def check(holds, message):
    if not holds:
        failures.append(message)
        print(f"FAILED {message}", file=sys.stderr)


def collect(built, folder):
    """A cache of whole contexts, its latents and their export."""
    (folder / "stories.toml").write_text(
        f'name = "stories"\npacking = "concat"\ncontext_length = {CONTEXT}\nmax_tokens = {TOKENS}\n'
        f'files = [{{ path = "{MODEL}/stories-train.jsonl" }}]\n'
    )
    cache, out = folder / "cache", folder / "latents"
    how = ["--model", MODEL, "--data", folder / "stories.toml", "--site", SITE, "--dtype", "f32", "--out", cache]
    programs.quietly(built / "harvest", "run", *how)
    how = ["--sae", MODEL / "saes" / NAME, "--model", MODEL, "--delphi", folder / "delphi", "--out", out]
    programs.quietly(built / "evaluate", "latents", "--cache", cache, *how)
    return folder / "delphi", out


def of_delphi(tokens, folder):
    """The cache that delphi makes of these tokens, `[sequences, context]`."""
    sae = SAE.load_from_disk(MODEL / "saes" / NAME)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    made = LatentCache(model, {LAYER: sae.encode}, batch_size=32)
    made.run(tokens.size, torch.from_numpy(tokens.astype(np.int64)))
    made.save_splits(5, folder)
    return folder / LAYER


def compare(ours, theirs):
    """Files of both caches: the same firings but for those below delphi's smallest activation, 1e-5, or near it."""
    names = sorted(path.name for path in theirs.glob("*.safetensors"))
    check(names == sorted(path.name for path in ours.glob("*.safetensors")), f"files: {names}")
    firings = differing = 0
    furthest = 0.0
    for name in names:
        own, other = load_file(ours / name), load_file(theirs / name)
        check(np.array_equal(own["tokens"], other["tokens"]), f"{name}: tokens")
        check(own["locations"].dtype == other["locations"].dtype, f"{name}: dtype of locations")
        pairs = [
            {tuple(place): value for place, value in zip(part["locations"].tolist(), part["activations"].tolist())}
            for part in (own, other)
        ]
        in_order = own["locations"][np.lexsort(own["locations"].T[::-1])]
        check(np.array_equal(own["locations"], in_order), f"{name}: order of locations")
        firings += len(pairs[1])
        both = pairs[0].keys() & pairs[1].keys()
        for alone in (pairs[0], pairs[1]):
            left = [value for place, value in alone.items() if place not in both]
            differing += sum(value > 3e-5 for value in left)
        # delphi keeps activations in 16 bits.
        furthest = max(furthest, max(abs(pairs[0][place] / pairs[1][place] - 1) for place in both if pairs[1][place] > 1e-3))
    check(differing == 0, f"{differing} of {firings} firings are in one cache alone")
    check(furthest < 1e-3, f"activations differ by {furthest}")
    print(f"delphi's own cache: {firings} firings in {len(names)} files, {differing} in one alone; activations within {furthest:.1e}, 16 bits")


class Yes(Client):
    """Answers that every example activates the latent."""

    def __init__(self):
        super().__init__("none")
        self.asked = 0

    async def generate(self, prompt, **_):
        self.asked += 1
        return Response(json.dumps([1] * 5))


def score(folder):
    """delphi's records of our export, and the scores of a client that always says yes."""
    constructor = ConstructorConfig(example_ctx_len=32, min_examples=50, n_non_activating=20, center_examples=False)
    sampler = SamplerConfig(n_examples_train=10, n_examples_test=20, n_quantiles=10)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(MODEL / "tokenizer.json"))
    wanted = {NAME: torch.arange(0, 60)}
    dataset = LatentDataset(folder, sampler, constructor, tokenizer, modules=[NAME], latents=wanted)
    records = [record for record in dataset if record.train]
    check(len(records) > 5, f"delphi makes {len(records)} records")
    client = Yes()
    scorer = DetectionScorer(client, verbose=False, n_examples_shown=5)
    right = []
    for record in records:
        record.explanation = "an explanation"
        outcome = asyncio.run(scorer(record)).score
        right.append(np.mean([answer.correct for answer in outcome if answer.correct is not None]))
        check(any(answer.activating for answer in outcome), f"{record.latent}: no activating example")
        check(any(not answer.activating for answer in outcome), f"{record.latent}: no example without the latent")
        top = max(record.train, key=lambda example: float(example.activations.max()))
        check(float(top.activations.max()) > 0, f"{record.latent}: an example without activation")
    check(client.asked > len(records), "the scorer asks nothing")
    print(f"delphi: {len(records)} records of 60 latents; detection by always saying yes is right at {np.mean(right):.2f}, asked {client.asked} times")


def read_by_dashboard(built, out, folder):
    install(built)
    import hayloft as hl

    latents = hl.Latents(out)
    paths = latents.to_neuronpedia(folder / "neuronpedia", model_id="stories", layer=3, sae_set="res")
    rows = {row["latent"]: row for row in latents.frame(frame="rows")}
    features = 0
    for path in paths:
        written = json.loads(path.read_text())
        batch = NeuronpediaDashboardBatch(**written)
        check(batch.to_dict() == written, f"{path.name}: SAEDashboard writes it in another way")
        for feature in batch.features:
            features += 1
            row = rows[feature.feature_index]
            check(feature.frac_nonzero == row["density"], f"{feature.feature_index}: frac_nonzero")
            check(len(feature.activations) > 0, f"{feature.feature_index}: no activations")
            for activation in feature.activations:
                check(len(activation.tokens) == len(activation.values), f"{feature.feature_index}: values")
    check(features == sum(row["firings"] > 0 for row in rows.values()), f"{features} features")
    print(f"SAEDashboard: {features} features in {len(paths)} files are read and written as they are")


def main():
    built = programs.asked(__doc__, *programs.ALL_TARGETS, names=("harvest", "evaluate"))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="hayloft-exports-") as folder:
        folder = Path(folder)
        export, out = collect(built, folder)
        tokens = load_file(next((export / NAME).glob("0_*.safetensors")))["tokens"]
        compare(export / NAME, of_delphi(tokens, folder / "of-delphi"))
        score(export)
        read_by_dashboard(built, out, folder)
    if failures:
        sys.exit(f"{len(failures)} failures")
    print("delphi and SAEDashboard read the exports")


if __name__ == "__main__":
    main()
