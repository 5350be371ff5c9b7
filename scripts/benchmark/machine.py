"""The machine and its peak rates, against which the measured rates are compared."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import zstandard

from ours import THREADS


def describe() -> dict[str, Any]:
    """The machine and the versions, without names of hosts, users or folders."""
    with open("/proc/cpuinfo") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    with open("/proc/cpuinfo") as lines:
        flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    with open("/proc/meminfo") as lines:
        memory = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    return {
        "cpu": model,
        "cpu_flags": [flag for flag in flags if flag.startswith(("avx", "amx", "fma"))],
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": f"{platform.system()} {platform.release()}",
        "threads_of_each_side": THREADS,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "versions": {
            "hayloft_commit": commit(),
            "hayloft_tree_changed": bool(said("git", "status", "--porcelain", "--untracked-files=no")),
            "rustc": said("rustc", "--version"),
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "sae-lens", "transformer-lens", "transformers", "numpy", "datasets")},
        },
    }


def said(*command: str) -> str:
    """The output of a command."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def commit() -> str:
    """The repository's commit, abbreviated."""
    return said("git", "rev-parse", "--short", "HEAD")


def now() -> str:
    """The time for file names: UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M")


def best(work: Callable[[], Any], seconds: float) -> float:
    """The shortest run of `work` among those that fit into `seconds`, at least three."""
    work()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def rates(seconds: float = 1.0) -> dict[str, float]:
    """Matrix products and copies with THREADS threads where the library has them, zstd with one."""
    torch.set_num_threads(THREADS)
    side = 2048
    figures = {}
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
        figures[f"matrix_product_{name}_gflops"] = 2 * side**3 / best(lambda a=a, b=b: a @ b, seconds) / 1e9
    source = np.ones(1 << 28, np.uint8)
    target = np.empty_like(source)
    # A copy reads each byte and writes it.
    figures["memory_copy_gb_per_s"] = 2 * source.nbytes / best(lambda: np.copyto(target, source), seconds) / 1e9
    # Exponents like those of a residual stream, which the store compresses.
    values = np.random.default_rng(0).standard_normal(1 << 24, np.float32)
    exponents = (values.view(np.uint32) >> 23 & 0xFF).astype(np.uint8).tobytes()
    compressor = zstandard.ZstdCompressor(level=1)
    packed = compressor.compress(exponents)
    figures["zstd_1_compress_gb_per_s"] = len(exponents) / best(lambda: compressor.compress(exponents), seconds) / 1e9
    unpack = zstandard.ZstdDecompressor().decompress
    figures["zstd_1_decompress_gb_per_s"] = len(exponents) / best(lambda: unpack(packed), seconds) / 1e9
    return figures
