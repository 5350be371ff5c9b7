"""How far each running task has come, in one place: an actor that tasks report to and the driver asks."""

import time

import ray
from ray.util import metrics


class Tracker:
    """Holds running tasks alone, so that it does not grow with the run."""

    def __init__(self, run: str, unit: str):
        self.running: dict[str, tuple[float, int]] = {}
        tags = {"run": run}
        self.done_gauge = metrics.Gauge("hayloft_done", f"{unit} done in this run", tag_keys=("run",))
        self.tasks_gauge = metrics.Gauge("hayloft_tasks_running", "tasks running", tag_keys=("run",))
        self.done_gauge.set_default_tags(tags)
        self.tasks_gauge.set_default_tags(tags)

    def report(self, attempt: str, done: int) -> None:
        """An attempt at a task is running, and has done so much."""
        started, before = self.running.get(attempt, (time.monotonic(), 0))
        self.running[attempt] = (started, max(before, done))

    def forget(self, attempts: list[str]) -> None:
        """Attempts have ended."""
        for attempt in attempts:
            self.running.pop(attempt, None)

    def look(self, ended: list[str], finished_work: int) -> dict[str, tuple[float, int]]:
        """Forgets what has ended, and tells of each running attempt for how many seconds it has run, and how much it has done."""
        self.forget(ended)
        now = time.monotonic()
        running = {attempt: (now - started, done) for attempt, (started, done) in self.running.items()}
        self.done_gauge.set(finished_work + sum(done for _, done in running.values()))
        self.tasks_gauge.set(len(running))
        return running


def start(run: str, unit: str) -> ray.actor.ActorHandle:
    """A tracker beside the driver: it goes with the driver's machine and no other."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(Tracker)
    return actor.options(name=f"hayloft {run}", lifetime=None).remote(run, unit)
