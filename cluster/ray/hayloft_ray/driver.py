"""Runs tasks on a cluster: few at a time, with retries, and stops.

Memory does not grow with the number of tasks: they come from an iterator, a bounded number is submitted to Ray, and of finished
tasks only counts are kept.
"""

import logging
import os
import re
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayError, TaskCancelledError

from hayloft_ray import programs, tracker
from hayloft_ray.policy import Failure, History, Policy, Stragglers
from hayloft_ray.progress import Progress
from hayloft_ray.tasks import Task

LOOK = 0.5
"""Seconds between two polls of the cluster while no task ends."""

GRACE = programs.PATIENCE + 10
"""Seconds that tasks have to stop in when the run is stopped."""

NAMES = 500
"""Tasks with a distinct name in the dashboard: Ray keeps a time series, some kilobytes of the driver's memory, for every name."""


class RunFailed(Exception):
    """A task failed too often. The message has its name, its error, and the path of its whole output."""


@dataclass(frozen=True)
class Resources:
    """Resources of a task."""

    gpus: float = 0
    cpus: float = 1

    def slots(self) -> int:
        """Tasks that the cluster can run in parallel now; at least one, for clusters that have yet to grow."""
        there = ray.cluster_resources()
        counts = [there.get(name, 0) // each for name, each in (("GPU", self.gpus), ("CPU", self.cpus)) if each]
        return max(1, int(min(counts, default=1)))


@dataclass
class Counts:
    """The outcome of a run."""

    tasks: int = 0
    seconds: float = 0.0
    work: int = 0


@dataclass
class Attempt:
    """A submitted attempt at a task."""

    task: Task
    history: History
    key: str
    is_stopped: bool = False
    """Whether it was stopped as a straggler."""
    seconds: float = 0.0


@dataclass
class Waiting:
    """A task that is to be retried."""

    task: Task
    history: History
    due: float = 0.0


@ray.remote(max_retries=0)
def run_task(task: Task, key: str, reports: ray.actor.ActorHandle) -> programs.Outcome | None:
    """One attempt at a task, on any node."""
    reports.report.remote(key, 0)
    if not task.command:
        time.sleep(task.seconds)
        return None
    return programs.run(
        task.command,
        task.stops_at_end_of_input,
        task.folder,
        heard=lambda done: reports.report.remote(key, done) and None,
    )


class Driver:
    """Runs tasks. One run at a time."""

    def __init__(self, name: str, unit: str, resources: Resources, policy: Policy, logs: Path, progress: Progress):
        self.name, self.unit, self.resources, self.policy = name, unit, resources, policy
        self.logs, self.progress = logs, progress
        self.counts = Counts()
        self.sent = 0

    def run(
        self,
        tasks: Iterator[Task],
        total: int,
        done: Callable[[Task, programs.Outcome | None], None] = lambda task, outcome: None,
        watch: Callable[[int], None] = lambda finished: None,
    ) -> Counts:
        """Runs all tasks. `done` is called with each that succeeded, `watch` with the number of finished ones after each poll.

        Raises RunFailed if one fails too often, KeyboardInterrupt if the run is stopped; running tasks are then stopped.
        """
        start = time.monotonic()
        reports = tracker.start(f"{self.name} {uuid.uuid4().hex[:8]}", self.unit)
        flying: dict[ray.ObjectRef, Attempt] = {}
        again: deque[Waiting] = deque()
        stragglers, ended, looked = Stragglers(self.policy), [], start
        most = 2 * self.resources.slots() + 2
        exhausted = False
        self.progress.begin(total)
        try:
            with raised_signals():
                while flying or again or not exhausted:
                    exhausted = self._fill(flying, again, tasks, most, exhausted, reports)
                    ready = []
                    if flying:
                        ready, _ = ray.wait(list(flying), num_returns=1, timeout=LOOK)
                        more, _ = ray.wait(list(flying), num_returns=len(flying), timeout=0)
                        ready = list({*ready, *more})
                    elif again:
                        time.sleep(LOOK)
                    for ref in ready:
                        attempt = flying.pop(ref)
                        ended.append(attempt.key)
                        self._end(ref, attempt, again, stragglers, done)
                    if time.monotonic() - looked > LOOK:
                        self._look(reports, ended, flying, stragglers)
                        ended.clear()
                        looked = time.monotonic()
                    watch(self.counts.tasks)
        except BaseException:
            self._stop(flying)
            raise
        finally:
            self.counts.seconds = time.monotonic() - start
            self.progress.end()
            ray.kill(reports)
        return self.counts

    def _fill(self, flying, again, tasks, most, exhausted, reports) -> bool:
        """Submits tasks to Ray while there is room, due retries first. Returns whether no new ones are left."""
        now = time.monotonic()
        for waiting in [waiting for waiting in again if waiting.due <= now][: max(0, most - len(flying))]:
            again.remove(waiting)
            self._send(flying, waiting.task, waiting.history, reports)
        while not exhausted and len(flying) < most:
            task = next(tasks, None)
            if task is None:
                return True
            self._send(flying, task, History(), reports)
        return exhausted

    def _send(self, flying, task: Task, history: History, reports) -> None:
        key = f"{task.name} #{history.failures + history.deaths + history.restarts}"
        name = task.name if self.sent < NAMES else self.name
        self.sent += 1
        options = {"name": name, "num_cpus": self.resources.cpus, "num_gpus": self.resources.gpus}
        ref = run_task.options(**options).remote(task, key, reports)
        flying[ref] = Attempt(task, history, key)

    def _end(self, ref, attempt: Attempt, again, stragglers: Stragglers, done) -> None:
        """Records how an attempt ended."""
        task, history = attempt.task, attempt.history
        try:
            outcome = ray.get(ref, timeout=60)
        except (TaskCancelledError, GetTimeoutError, RayError) as error:
            if attempt.is_stopped:
                again.append(Waiting(task, history))
                return
            self._again(attempt, Failure.DEATH, again, f"{type(error).__name__}: {error}", "")
            return
        if outcome is None or outcome.returncode == 0:
            self.counts.tasks += 1
            self.counts.work += task.work
            stragglers.done(attempt.seconds)
            self.progress.finished(task.work)
            done(task, outcome)
        elif attempt.is_stopped:
            again.append(Waiting(task, history))
        else:
            failure = Failure.DEATH if outcome.was_killed else Failure.PROGRAM
            self._again(attempt, failure, again, outcome.error, outcome.said)

    def _again(self, attempt: Attempt, failure: Failure, again, error: str, said: str) -> None:
        task = attempt.task
        log = self._keep(attempt, error, said)
        pause = attempt.history.fails(failure, self.policy)
        if pause is None:
            times = attempt.history.failures + attempt.history.deaths
            raise RunFailed(f"{task.name}: {error}\nIt was tried {times} times; its output is in {log}. Finished work is kept: run "
                            "the same command again to continue")
        self.progress.say(f"{task.name}: {failure.value}: {error.splitlines()[0][:300]}; again in {pause:.0f} s (whole output: {log})")
        again.append(Waiting(task, attempt.history, time.monotonic() + pause))

    def _keep(self, attempt: Attempt, error: str, said: str) -> Path:
        """Writes the output of a failed attempt to a file; returns its path for messages."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / (re.sub(r"[^\w.#-]+", "-", attempt.key)[:150] + ".log")
        path.write_text(f"$ {' '.join(attempt.task.command)}\n{said}\n{error}\n")
        return path

    def _look(self, reports, ended, flying, stragglers: Stragglers) -> None:
        """Polls the progress of all attempts, and stops stragglers."""
        try:
            running = ray.get(reports.look.remote(list(ended), self.counts.work), timeout=30)
        except (GetTimeoutError, RayError):
            return  # A failed poll is skipped.
        self.progress.running(sum(done for _, done in running.values()), len(running))
        for ref, attempt in flying.items():
            if attempt.key not in running or attempt.is_stopped:
                continue
            attempt.seconds = running[attempt.key][0]
            if stragglers.is_one(attempt.seconds, attempt.history):
                attempt.is_stopped = True
                attempt.history.restarts += 1
                self.progress.say(f"{attempt.task.name}: {attempt.seconds:.0f} s is long beside the others: started again elsewhere")
                ray.cancel(ref, force=False, recursive=True)

    def _stop(self, flying: dict) -> None:
        """Stops all running tasks, and waits until they have cleaned up."""
        if not flying:
            return
        self.progress.say(f"stopping {len(flying)} tasks")
        for ref in flying:
            ray.cancel(ref, force=False, recursive=True)
        ray.wait(list(flying), num_returns=len(flying), timeout=GRACE)


@contextmanager
def raised_signals():
    """SIGTERM, as `ray job stop` sends it, stops a run like Ctrl-C. A second one ends it at once."""

    def interrupt(*_):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def connect(address: str | None) -> None:
    """Joins the cluster at `address`, or the one of this machine, or starts one with this machine's cores for this run alone."""
    # Ray would print the output of all programs on one terminal; the logs have what matters.
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "include_dashboard": None}
    # A Ray job has already brought this package along.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        quiet["runtime_env"] = {"py_modules": [str(Path(__file__).parent)]}
    if address:
        ray.init(address=address, **quiet)
        return
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError:
        ray.init(**quiet)
