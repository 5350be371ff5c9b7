"""Fills a planned cache."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hayloft_ray import arguments as given
from hayloft_ray.programs import Programs, printed_by
from hayloft_ray.tasks import Task, ranges


@dataclass(frozen=True)
class Plan:
    """The plan: the tokens of each shard."""

    tokens: tuple[int, ...]

    @property
    def shards(self) -> int:
        return len(self.tokens)

    @property
    def total(self) -> int:
        return sum(self.tokens)


def is_location(place: str) -> bool:
    """Whether a location is in a bucket, not a folder."""
    return "://" in place


def read_plan(programs: Programs, arguments: Sequence[str]) -> Plan:
    """The plan of the cache in --out; a folder without one is planned first, from the manifest in --data."""
    out = given.value(arguments, "--out", "harvest run")
    path = Path(out) / "plan.json"
    if not is_location(out) and not path.exists():
        if not given.has(arguments, "--data"):
            raise given.ArgumentError(
                f"{path}: expected a plan, got none. Name a data manifest with --data, or run `harvest plan` first"
            )
        printed_by([programs.harvest, "plan", *plan_arguments(arguments)])
    printed = printed_by([programs.store, "plan", out, "--json"])
    return Plan(tuple(json.loads(printed)["shard_tokens"]))


def plan_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of `harvest run` that `harvest plan` takes."""
    names = ("--model", "--data", "--data-root", "--out", "--shard-tokens", "--row-group-rows")
    return [word for name in names for value in given.values(arguments, name) for word in (name, value)]


def tasks(program: str, arguments: Sequence[str], plan: Plan, shards_per_task: int) -> Iterator[Task]:
    """One task a group of shards. The data is not read again, so nodes need not have it."""
    given.refuse(arguments, "harvest run", "--shards", "--share", "--stop-on-eof", "--resume", "--profile", "--json")
    plain = given.without(arguments, "--data", "--data-root", "--shard-tokens", "--row-group-rows")
    for group in ranges(plan.shards, shards_per_task):
        shards = f"{group.start}..{group.stop}"
        yield Task(
            name=f"harvest shards {shards}",
            command=(program, "run", *plain, "--share", "--stop-on-eof", "--json", "--shards", shards),
            work=sum(plan.tokens[group.start : group.stop]),
            stops_at_end_of_input=True,
        )


def finish(program: str, arguments: Sequence[str]) -> str:
    """Checks the whole plan once, which also writes the manifest if the last worker died before it could; returns the summary."""
    plain = given.without(arguments, "--data", "--data-root", "--shard-tokens", "--row-group-rows")
    # If all shards are whole, no weights are loaded, so this machine needs no GPU.
    return printed_by([program, "run", *given.without(plain, "--device"), "--share", "--json"])
