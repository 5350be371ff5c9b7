"""Runs Hayloft's programs and measures them."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workload import TEXT

THREADS = 2

Measurement = dict[str, Any]  # "seconds" and "tokens", and other recorded values


@dataclass
class Programs:
    """The programs in `folder`, run from the repository's root; `lines` collects their command lines."""

    folder: Path
    scratch: Path
    lines: list[str] = field(default_factory=list)

    def run(self, program: str, *arguments: object) -> tuple[str, float, int]:
        """Standard output, wall seconds and peak memory in bytes of one run."""
        words = [str(argument) for argument in arguments]
        line = " ".join([program, *words])
        if line not in self.lines:
            self.lines.append(line)
        output, log = self.scratch / "stdout", self.scratch / "stderr"
        with output.open("wb") as stdout, log.open("wb") as stderr:
            started = time.perf_counter()
            process = subprocess.Popen([self.folder / program, *words], stdout=stdout, stderr=stderr)
            # Not the kernel's resource usage at the end, which counts what this process held at the fork.
            peak = 0
            while process.poll() is None:
                peak = max(peak, peak_memory(process.pid))
                time.sleep(0.02)
            seconds = time.perf_counter() - started
        if process.returncode != 0:
            sys.exit(f"error: {line}\n{log.read_text(errors='replace')}")
        return output.read_text(), seconds, peak

    def harvest(self, model: Path, data: Path, cache: Path, site: str, dtype: str, logits: str) -> Measurement:
        """Makes `cache` anew. The seconds are those that `harvest` reports: without loading, with writing."""
        shutil.rmtree(cache, ignore_errors=True)
        settings = ["--site", site, "--dtype", dtype, "--logits", logits, "--codec", "planes", "--threads", THREADS]
        output, wall, peak = self.run(
            "harvest", "run", "--model", model, "--data", data, "--data-root", TEXT.parent, "--out", cache, *settings, "--json"
        )
        summary = json.loads(output)
        activations = sum(path.stat().st_size for path in cache.glob(f"shards/*/{site}.parquet"))
        return {
            "seconds": summary["seconds"],
            "tokens": summary["tokens"],
            "wall_seconds": wall,
            "peak_memory_bytes": peak,
            "activation_bytes": activations,
            "folder_bytes": folder_bytes(cache),
        }

    def evaluate(
        self, cache: Path, saes: list[Path], model: Path | None = None, compute: str | None = None, keep_baselines: bool = False
    ) -> Measurement:
        """Evaluates SAEs in one pass, with losses if there is a model. Without `keep_baselines` it is a first run on the cache."""
        if not keep_baselines:
            shutil.rmtree(cache / "baselines", ignore_errors=True)
        profile = self.scratch / "profile.json"
        profile.unlink(missing_ok=True)
        arguments: list[object] = ["--model", model] if model else []
        arguments += ["--cache", cache]
        for sae in saes:
            arguments += ["--sae", sae]
        arguments += ["--compute", compute] if compute else []
        output, wall, peak = self.run(
            "evaluate", "run", *arguments, "--threads", THREADS, f"--profile={profile}", "--json"
        )
        profiled = json.loads(profile.read_text())
        columns = ("l0", "mse", "explained_variance_pooled", "ce_clean", "ce_sae", "ce_zero")
        results = [{column: result.get(column) for column in columns} for result in json.loads(output)]
        return {
            "seconds": profiled["seconds"],
            "tokens": profiled["tokens"],
            "wall_seconds": wall,
            "peak_memory_bytes": max(peak, profiled["peak_memory_bytes"]),
            "saes": len(saes),
            "results": results,
            "profile": profiled,
        }

    def latents(self, cache: Path, sae: Path, out: Path, *options: object) -> Measurement:
        """Collects the latents of an SAE, with every other option at its default."""
        shutil.rmtree(out, ignore_errors=True)
        words = ["--cache", cache, "--sae", sae, "--out", out, "--threads", THREADS, "--json", *options]
        output, wall, peak = self.run("evaluate", "latents", *words)
        about = json.loads(output)["saes"][0]
        return {
            "tokens": about["tokens"],
            "l0": about["l0"],
            "wall_seconds": wall,
            "peak_memory_bytes": peak,
            "folder_bytes": folder_bytes(out),
        }


def peak_memory(process: int) -> int:
    """The peak resident memory of a process so far, in bytes; 0 if it has ended."""
    try:
        with open(f"/proc/{process}/status") as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def folder_bytes(folder: Path) -> int:
    """The total size of the files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def codec_speed(lines: list[str]) -> dict[str, float]:
    """The codec speeds of the store's example, on one thread: gigabytes of plain words a second."""
    command = "cargo run --release --locked --quiet --package hayloft-store --example codec_speed -- --threads 1 --json"
    if command not in lines:
        lines.append(command)
    return json.loads(subprocess.run(command.split(), check=True, stdout=subprocess.PIPE, text=True).stdout)
