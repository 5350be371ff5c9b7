"""A task, and how lists are cut into tasks."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """One program to run, or a simulated duration."""

    name: str
    """Its name in the dashboard and the log; unique in a run."""
    command: tuple[str, ...] = ()
    """The program and its arguments. Without one, the task sleeps for `seconds`."""
    work: int = 0
    """Its share of the run's total, in the unit of the run's progress."""
    stops_at_end_of_input: bool = False
    """Whether the program stops cleanly when its standard input ends."""
    seconds: float = 0.0
    folder: str = field(default_factory=os.getcwd)
    """The folder that relative paths start at."""


def ranges(count: int, size: int) -> Iterator[range]:
    """0..count in pieces of `size`, the last one possibly shorter."""
    for start in range(0, count, max(size, 1)):
        yield range(start, min(start + size, count))


def shards_per_task(shards: int, slots: int) -> int:
    """The size that gives each slot about eight tasks: few enough that loading the model costs little, enough that the last ones end
    at about the same time."""
    return min(64, max(1, shards // (8 * max(slots, 1))))


def groups(items: Sequence[str], size: int) -> list[list[str]]:
    """The items in groups of `size`."""
    return [list(items[group.start : group.stop]) for group in ranges(len(items), size)]
