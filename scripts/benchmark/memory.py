"""Memory that an evaluation takes beyond its weights, over 1, 4 and 16 times the tokens."""

import json
import shutil
from pathlib import Path
from typing import Any

from ours import Programs
from workload import MIDDLE, SITE, Workload

FACTORS = (1, 4, 16)


def upper_half_bytes(model: Path) -> int:
    """Bytes of the weights from the middle block on: its blocks, the final norm, and the embedding, which is also the unembedding."""
    content = (model / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    total = 0
    for name, entry in header.items():
        if name == "__metadata__" or (name.startswith("model.layers.") and int(name.split(".")[2]) < MIDDLE):
            continue
        begin, end = entry["data_offsets"]
        total += end - begin
    return total


def measure(programs: Programs, workload: Workload, tokens: int) -> dict[str, Any]:
    """First runs over caches of `tokens`, 4 · `tokens` and 16 · `tokens` tokens."""
    sae = workload.saes[0]
    weights = upper_half_bytes(workload.model) + (sae / "sae_weights.safetensors").stat().st_size
    runs = []
    for factor in FACTORS:
        cache = workload.folder / "memory"
        programs.harvest(workload.model, workload.manifest(factor * tokens), cache, SITE, "f32", "loss")
        run = programs.evaluate(cache, [sae], workload.model)
        run["excess_gb"] = (run["peak_memory_bytes"] - weights) / 1e9
        runs.append(run)
        shutil.rmtree(cache)
    each = [run["seconds"] / run["tokens"] for run in runs]
    return {
        "weights_bytes": weights,
        "runs": runs,
        "memory_excess_gb": max(run["excess_gb"] for run in runs),
        "seconds_per_token_last_over_first": each[-1] / each[0],
        "time_is_linear_within_10_percent": abs(each[-1] / each[0] - 1) <= 0.1,
    }
