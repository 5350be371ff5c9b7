"""Time and memory of `evaluate latents`, against `evaluate run` without a model, over 1, 4 and 16 times the tokens."""

import shutil
from typing import Any

from ours import THREADS, Programs
from workload import SITE, Workload

FACTORS = (1, 4, 16)


def measure(programs: Programs, workload: Workload, tokens: int) -> dict[str, Any]:
    """One SAE on caches of `tokens`, 4 · `tokens` and 16 · `tokens` tokens."""
    sae, cache = workload.saes[0], workload.folder / "latents-cache"
    runs = []
    for factor in FACTORS:
        programs.harvest(workload.model, workload.manifest(factor * tokens), cache, SITE, "f32", "none")
        # The first run makes the baselines. The second has no profile, which would measure the machine too.
        programs.evaluate(cache, [sae])
        _, seconds, peak = programs.run("evaluate", "run", "--cache", cache, "--sae", sae, "--threads", THREADS)
        evaluated = {"wall_seconds": seconds, "peak_memory_bytes": peak}
        collected = programs.latents(cache, sae, workload.folder / "latents")
        apart = programs.latents(cache, sae, workload.folder / "latents", "--nearest", 0)
        runs.append({"tokens": factor * tokens, "run": evaluated, "latents": collected, "without_nearest": apart})
        shutil.rmtree(cache)
    times = [run["latents"]["wall_seconds"] / run["run"]["wall_seconds"] for run in runs]
    peaks = [run["latents"]["peak_memory_bytes"] for run in runs]
    return {"runs": runs, "times_as_long": times, "memory_growth": peaks[-1] / peaks[0]}
