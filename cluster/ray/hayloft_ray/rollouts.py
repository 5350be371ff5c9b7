"""Generates a chat model's rollouts."""

from collections.abc import Iterator, Sequence

from hayloft_ray import arguments as given
from hayloft_ray.programs import printed_by
from hayloft_ray.tasks import Task


def tasks(program: str, arguments: Sequence[str], parts: int) -> Iterator[Task]:
    """One task a share of the batches; shares stay beside the output until all exist."""
    given.refuse(arguments, "harvest rollouts", "--part", "--resume", "--json")
    given.value(arguments, "--out", "harvest rollouts")
    for part in range(parts):
        share = f"{part}/{parts}"
        command = (program, "rollouts", *arguments, "--part", share, "--json")
        yield Task(name=f"rollouts {share}", command=command, work=1)


def finish(program: str, arguments: Sequence[str]) -> str:
    """Combines the shares; returns the summary. If all exist, nothing is generated and no weights are loaded."""
    return printed_by([program, "rollouts", *given.without(arguments, "--device"), "--resume", "--json"])
