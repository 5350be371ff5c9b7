"""How fast latents and their contexts are collected: from a Hayloft cache, and by delphi's cache and SAEDashboard's runner on the
live model. The same model, SAE, tokens and two threads on all sides.

  scripts/bench --delphi [--tokens N] [--repeats N] [--dashboard-latents N]

Prints seconds: of `evaluate latents`, with statistics, examples and similar latents, of the same with `--delphi`, which also
writes what delphi writes, of the harvest before them, and of delphi's `LatentCache` (run and save_splits), which has no
statistics, examples or similar latents yet. Both caches have the same firings, or the measurement ends with an error. SAEDashboard's
runner takes about a thousand seconds for all latents, so it is given the first 512 of them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
for module in ("vllm", "vllm.distributed", "vllm.distributed.parallel_state", "vllm.inputs"):
    sys.modules[module] = mock.MagicMock()
os.environ["TQDM_DISABLE"] = "1"

import numpy  # noqa: E402
import torch  # noqa: E402
import workload  # noqa: E402
from delphi.latents import LatentCache  # noqa: E402
from ours import THREADS, Programs  # noqa: E402
from sae_lens import SAE  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

HOOKPOINT = f"model.layers.{workload.MIDDLE - 1}"
"""Its output is the input of the middle block."""


def of_delphi(made: workload.Workload, tokens: torch.Tensor, folder: Path) -> float:
    """Seconds of delphi's own cache; loading the model and the SAE does not count."""
    model = AutoModelForCausalLM.from_pretrained(made.model, dtype=torch.float32).eval()
    sae = SAE.load_from_disk(made.saes[0]).requires_grad_(False)
    start = time.perf_counter()
    cache = LatentCache(model, {HOOKPOINT: sae.encode}, batch_size=workload.BATCH)
    cache.run(tokens.numel(), tokens)
    cache.save_splits(5, folder)
    return time.perf_counter() - start


def of_dashboard(python: Path, made: workload.Workload, tokens: torch.Tensor, latents: int) -> float:
    """Seconds of SAEDashboard's runner for some latents."""
    path = made.folder / "tokens.npy"
    numpy.save(path, tokens.numpy())
    script = Path(__file__).with_name("dashboard.py")
    words = [python, script, made.model, made.saes[0], workload.SITE, path, latents]
    done = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def firings(folder: Path) -> int:
    return sum(len(load_file(path)["activations"]) for path in folder.glob("*.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--dashboard", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--dashboard-latents", type=int, default=512, metavar="N", help="how many latents SAEDashboard is given")
    parser.add_argument("--tokens", type=int, default=65536, help="how many tokens")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    folder = Path("target/bench-delphi")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = workload.make(folder)
    programs = Programs(given.programs, folder)
    cache, data = folder / "cache", made.manifest(given.tokens)
    seconds: dict[str, list[float]] = {}
    for _ in range(given.repeats):
        harvested = programs.harvest(made.model, data, cache, workload.SITE, "f32", "none")
        seconds.setdefault("harvest run", []).append(harvested["wall_seconds"])
        for name, more in [("evaluate latents", []), ("evaluate latents --delphi", ["--delphi", folder / "ours"])]:
            shutil.rmtree(folder / "ours", ignore_errors=True)
            words = ["--cache", cache, "--sae", made.saes[0], "--threads", THREADS, *more, "--out", folder / "latents"]
            seconds.setdefault(name, []).append(programs.run("evaluate", "latents", *words)[1])
        shutil.rmtree(folder / "theirs", ignore_errors=True)
        tokens = workload.read_tokens(cache)
        seconds.setdefault("delphi LatentCache", []).append(of_delphi(made, tokens, folder / "theirs"))
        name = f"SAEDashboard, {given.dashboard_latents} latents"
        seconds.setdefault(name, []).append(of_dashboard(given.dashboard, made, tokens, given.dashboard_latents))
        ours, theirs = firings(folder / "ours" / made.saes[0].name), firings(folder / "theirs" / HOOKPOINT)
        if abs(ours - theirs) > theirs * 1e-4:
            sys.exit(f"error: firings: expected as many as in delphi's cache, {theirs}, got {ours}")
    print(f"{given.tokens} tokens, {workload.WIDTH} latents, {ours} firings; {torch.__version__=!s}, {THREADS} threads")
    ours = median(seconds["evaluate latents"])
    for name, values in seconds.items():
        least, most = min(values), max(values)
        print(f"{name:28}{median(values):8.2f} s ({least:.2f} to {most:.2f}), {median(values) / ours:.1f} times evaluate latents")


if __name__ == "__main__":
    main()
