"""Measures the driver's overhead without programs."""

import json
import resource
from pathlib import Path

import ray

from hayloft_ray.driver import Driver
from hayloft_ray.tasks import Task


def resident_bytes() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def simulate(driver: Driver, shards: int, seconds: float) -> str:
    """Runs empty tasks of `seconds` each. Returns JSON: the time, the overhead, and the driver's memory during the run."""
    tasks = (Task(name=f"simulated shard {shard}", work=1, seconds=seconds) for shard in range(shards))
    memory: dict[str, float] = {}
    marks = {shards * percent // 100: f"{percent}%" for percent in (10, 50, 100)}

    def watch(finished: int) -> None:
        for mark in [mark for mark in marks if finished >= mark]:
            memory[marks.pop(mark)] = round(resident_bytes() / 1e6, 1)

    slots = driver.resources.slots()
    counts = driver.run(tasks, shards, watch=watch)
    watch(counts.tasks)
    ideal = shards * seconds / slots
    return json.dumps(
        {
            "shards": counts.tasks,
            "slots": slots,
            "seconds": round(counts.seconds, 1),
            "seconds_without_overhead": round(ideal, 1),
            "milliseconds_of_overhead_a_shard": round(1000 * (counts.seconds - ideal) / shards, 2),
            "driver_megabytes_at": memory,
            "ray": ray.__version__,
        },
        indent=2,
    )
