"""Progress of all running tasks: an actor that tasks report to and the driver polls."""

import time

import ray
from ray.util import metrics


class Tracker:
    """Holds running tasks only, so that it does not grow with the run."""

    def __init__(self, run: str, unit: str):
        self.running: dict[str, tuple[float, int]] = {}
        tags = {"run": run}
        self.done_gauge = metrics.Gauge("hayloft_done", f"{unit} done in this run", tag_keys=("run",))
        self.tasks_gauge = metrics.Gauge("hayloft_tasks_running", "tasks running", tag_keys=("run",))
        self.done_gauge.set_default_tags(tags)
        self.tasks_gauge.set_default_tags(tags)

    def report(self, attempt: str, done: int) -> None:
        """An attempt at a task is running, and has done this much."""
        started, before = self.running.get(attempt, (time.monotonic(), 0))
        self.running[attempt] = (started, max(before, done))

    def forget(self, attempts: list[str]) -> None:
        """Attempts have ended."""
        for attempt in attempts:
            self.running.pop(attempt, None)

    def look(self, ended: list[str], finished_work: int) -> dict[str, tuple[float, int]]:
        """Removes ended attempts; returns for each running one the seconds that it has run, and the amount done."""
        self.forget(ended)
        now = time.monotonic()
        running = {attempt: (now - started, done) for attempt, (started, done) in self.running.items()}
        self.done_gauge.set(finished_work + sum(done for _, done in running.values()))
        self.tasks_gauge.set(len(running))
        return running


def start(run: str, unit: str) -> ray.actor.ActorHandle:
    """A tracker on the driver's node: it fails with that node and no other."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(Tracker)
    return actor.options(name=f"hayloft {run}", lifetime=None).remote(run, unit)
