#!/usr/bin/env python3
"""Converts activations from SAELens to a cache and back, and from a cache to SAELens and back.

Proves: exports and imports keep every bit, by SAELens's own reader and writer
Needs: SAELens environment, LibTorch
Takes: minutes

  scripts/check saelens-exchange [--programs DIR]     built programs [default: builds them in debug]

Passes if SAELens's ActivationsStore reads the same arrays from the output of `store export` as from that of its
CacheActivationsRunner, if every cache verifies, and if `evaluate run` computes the same L0, error and explained variance of an SAE
over an imported cache as SAELens.
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

warnings.filterwarnings("ignore")
os.environ["TQDM_DISABLE"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

import datasets  # noqa: E402
import sae_lens.cache_activations_runner as runner_module  # noqa: E402
from sae_lens import ActivationsStore, CacheActivationsRunner, CacheActivationsRunnerConfig  # noqa: E402
from sae_lens import StandardSAE, StandardSAEConfig  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformer_lens import HookedTransformer, HookedTransformerConfig  # noqa: E402

from read_cache import read_site, to_torch  # noqa: E402

datasets.disable_progress_bars()
PROGRAMS = programs.asked(__doc__, *programs.ALL_TARGETS)
SCRATCH = tempfile.TemporaryDirectory(prefix="hayloft-exchange-")
FOLDER = Path(SCRATCH.name)
SITE = "blocks.1.hook_resid_pre"
CONTEXT, D_MODEL, VOCABULARY, BOS = 16, 32, 320, 0
ROWS, BATCH = 64, 4
failures = []


def check(holds, message):
    print(f"{'ok' if holds else 'FAILED'}: {message}")
    if not holds:
        failures.append(message)


def run(program, *arguments):
    finished = subprocess.run([PROGRAMS / program, *map(str, arguments)], capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}:\n{finished.stderr}")
    return finished.stdout


def refused(program, *arguments):
    """The message of a command that must fail."""
    finished = subprocess.run([PROGRAMS / program, *map(str, arguments)], capture_output=True, text=True)
    return finished.stderr if finished.returncode != 0 else ""


def small_model():
    torch.manual_seed(0)
    return HookedTransformer(
        HookedTransformerConfig(
            n_layers=2, d_model=D_MODEL, n_ctx=CONTEXT, d_head=8, n_heads=4, d_mlp=64, d_vocab=VOCABULARY, act_fn="relu"
        )
    )


def configuration(path, dtype):
    return CacheActivationsRunnerConfig(
        dataset_path="random tokens",
        model_name="small",
        model_batch_size=BATCH,
        hook_name=SITE,
        d_in=D_MODEL,
        training_tokens=ROWS * CONTEXT,
        context_size=CONTEXT,
        new_cached_activations_path=str(path),
        shuffle=False,
        dtype=dtype,
        device="cpu",
        # Four files.
        buffer_size_gb=ROWS / 4 * CONTEXT * D_MODEL * (2 if dtype == "float16" else 4) / 1e9,
        prepend_bos=False,
        streaming=False,
    )


def write_by_saelens(model, path, dtype):
    """Runs SAELens's runner over given tokens."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, VOCABULARY, (ROWS, CONTEXT), generator=generator)
    tokens[:, 0] = BOS
    data = datasets.Dataset.from_dict({"tokens": tokens.tolist()})
    # The model is in memory; SAELens would load it by name.
    runner_module.load_model = lambda **_: model
    CacheActivationsRunner(configuration(path, dtype), override_dataset=data).run()


def read_by_saelens(model, path, dtype, rows=ROWS, context=CONTEXT):
    """Every batch of SAELens's ActivationsStore over cached activations: [rows * context, d], [rows * context]."""
    cfg = configuration(path, dtype)
    cfg.context_size, cfg.training_tokens = context, rows * context
    cfg.model_batch_size = 1 if rows % BATCH else BATCH
    store = ActivationsStore.from_cache_activations(model, cfg)
    batches = [store.get_raw_llm_batch() for _ in range(rows // cfg.model_batch_size)]
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def bits(tensor):
    return tensor.contiguous().view(torch.int16 if tensor.element_size() == 2 else torch.int32)


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(bits(left), bits(right))


def from_saelens_and_back(model, dtype):
    written, cache, out = (FOLDER / f"{dtype}-{name}" for name in ("saelens", "cache", "exported"))
    write_by_saelens(model, written, dtype)
    files = len(list(written.glob("*.arrow")))
    print(run("store", "import", written, "--from", "saelens", "--out", cache, "--bos", BOS, "--shard-tokens", 400).strip())
    print(run("store", "verify", cache).strip())
    print(run("store", "export", cache, "--to", "saelens", "--out", out).strip())
    (x, tokens), (y, tokens_back) = (read_by_saelens(model, path, dtype) for path in (written, out))
    check(x.shape == (ROWS * CONTEXT, D_MODEL) and files > 1 and x.std() > 0, f"{dtype}: SAELens wrote {files} files")
    check(same(x, y) and torch.equal(tokens, tokens_back), f"{dtype}: {x.numel()} elements, {tokens.numel()} tokens: SAELens -> import -> export -> SAELens")
    check(same(x, to_torch(read_site(cache, SITE))), f"{dtype}: SAELens's arrays and read_cache.py's of the imported cache")
    original, back = (datasets.load_from_disk(path) for path in (written, out))
    check(original.features == back.features, f"{dtype}: the data sets' features")
    return cache, x


def from_cache_and_back(dtype, packed):
    """A harvested cache through SAELens's loader, and back with the identity of its model."""
    model_folder = ROOT / "tests/fixtures/tiny-llama"
    cache, out, back = (FOLDER / f"{dtype}-{name}" for name in ("harvest", "harvest-exported", "harvest-back"))
    run("harvest", "run", "--model", model_folder, "--data", packed, "--dtype", dtype, "--site", SITE, "--out", cache)
    print(run("store", "export", cache, "--to", "saelens", "--out", out).strip())
    context = json.loads((cache / "manifest.json").read_text())["corpus"]["context_length"]
    rows = len(datasets.load_from_disk(out))
    seen, _ = read_by_saelens(small_model(), out, "float16" if dtype == "f16" else "float32", rows, context)
    ours = to_torch(read_site(cache, SITE))
    check(same(seen, ours.to(seen.dtype)), f"{dtype}: {seen.numel()} elements of a harvest in SAELens")
    # Without hayloft.json, and with the checkpoint instead, as if SAELens had written it.
    (out / "hayloft.json").unlink()
    run("store", "import", out, "--from", "saelens", "--out", back, "--checkpoint", model_folder, "--precision", dtype)
    records = [json.loads((folder / "manifest.json").read_text()) for folder in (cache, back)]
    check(records[0]["model"] == records[1]["model"], f"{dtype}: the model's record out of the checkpoint and the harvest's")
    check(records[0]["corpus"]["tokenizer"] == records[1]["corpus"]["tokenizer"], f"{dtype}: the tokenizer's record")
    check(records[0]["held"]["sections"] == records[1]["held"]["sections"], f"{dtype}: tokens in each section")
    check(same(to_torch(read_site(back, SITE)).to(seen.dtype), seen), f"{dtype}: the imported cache has them again")
    if dtype == "f32":
        # The clean loss of a cache without predictions is computed again.
        sae = model_folder / "sae"
        figures = [json.loads(run("evaluate", "run", "--cache", it, "--sae", sae, "--model", model_folder, "--json"))[0] for it in (cache, back)]
        for name in ("ce_recovered", "ce_clean", "ce_sae", "l0", "mse", "explained_variance"):
            harvested, imported = (figure[name] for figure in figures)
            check(np.isclose(harvested, imported, rtol=1e-6), f"{name} spliced: harvested {harvested:.6f}, imported {imported:.6f}")
    safetensors = FOLDER / f"{dtype}-safetensors"
    run("store", "export", cache, "--to", "safetensors", "--out", safetensors)
    loaded = [load_file(path)[SITE] for path in sorted(safetensors.glob("*.safetensors"))]
    check(same(torch.cat(loaded), ours), f"{dtype}: torch loads the safetensors, as {loaded[0].dtype}")
    return back


def evaluation_without_model(cache, x):
    """An SAE over an imported cache, by `evaluate run` and by SAELens."""
    sae = StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=128, dtype="float32", device="cpu", apply_b_dec_to_input=True))
    sae.cfg.metadata.hook_name = SITE
    torch.manual_seed(2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(D_MODEL, 128) / D_MODEL**0.5)
        sae.W_dec.copy_(sae.W_enc.T)
    folder = FOLDER / "sae"
    sae.save_model(folder)
    got = json.loads(run("evaluate", "run", "--cache", cache, "--sae", folder, "--json"))[0]
    with torch.no_grad():
        latents = sae.encode(x)
        errors = (x - sae.decode(latents)).double().square().sum(-1)
    spread = (x.double() - x.double().mean(0)).square().sum(-1)
    expected = {
        "l0": (latents > 0).sum(-1).double().mean().item(),
        "mse": errors.mean().item(),
        "explained_variance": (1 - errors / spread).mean().item(),
    }
    for name, value in expected.items():
        check(np.isclose(got[name], value, rtol=1e-5), f"{name} of an SAE over the imported cache: {got[name]:.6f}, SAELens {value:.6f}")
    message = refused("evaluate", "run", "--cache", cache, "--sae", folder, "--model", ROOT / "tests/fixtures/tiny-llama")
    check("unknown" in message and "--checkpoint" in message, f"splicing is refused: {message.strip()}")


def main():
    model = small_model()
    cache, x = from_saelens_and_back(model, "float32")
    evaluation_without_model(cache, x)
    from_saelens_and_back(model, "float16")
    packed = FOLDER / "packed.toml"
    manifest = (ROOT / "data-manifests/tiny-llama.toml").read_text()
    packed.write_text(manifest.replace("per-document", "concat").replace("../tests", str(ROOT / "tests")))
    for dtype in ("f32", "bf16", "f16"):
        from_cache_and_back(dtype, packed)
    if failures:
        sys.exit(f"{len(failures)} of the comparisons failed")
    print("round trips between SAELens and a cache are equal")


if __name__ == "__main__":
    main()
