"""Evaluates SAEs in three steps: baselines of all parts, figures of all parts, and their merging.

The steps are separate because explained variance needs the mean activation of the whole cache, which is known only after all parts
have been read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hayloft_ray import arguments as given
from hayloft_ray.programs import printed_by
from hayloft_ray.tasks import Task, groups

FOR_PRINTING = ("--out", "--metrics", "--by", "--json")
"""Options of `evaluate run` that concern the printed and written results."""


def prepare(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without SAEs and options of printing, and the SAEs."""
    given.refuse(arguments, "evaluate run", "--part", "--only-baselines", "--profile", "--splice-together")
    saes = given.values(arguments, "--sae")
    if not saes:
        raise given.ArgumentError("evaluate run: expected at least one --sae after --, got none")
    plain = [word for word in given.without(arguments, "--sae", "--out", "--metrics", "--by") if word != "--json"]
    if "subset" in given.values(arguments, "--by"):
        plain += ["--by", "subset"]  # which changes what is measured, not only what is printed
    return plain, saes


def baseline_tasks(program: str, arguments: Sequence[str], baselines: Path, parts: int) -> Iterator[Task]:
    """One task a part, for all SAEs: the set of baselines depends on their scales."""
    plain, saes = prepare(arguments)
    named = [word for sae in saes for word in ("--sae", sae)]
    for part in range(parts):
        share = f"{part}/{parts}"
        command = (program, "run", *plain, *named, "--baselines", str(baselines), "--part", share, "--only-baselines")
        yield Task(name=f"baselines {share}", command=command, work=1)


def part_tasks(
    program: str, arguments: Sequence[str], baselines: Path, work: Path, parts: int, saes_per_task: int
) -> Iterator[Task]:
    """One task a group of SAEs and a part."""
    plain, saes = prepare(arguments)
    for number, group in enumerate(groups(saes, saes_per_task)):
        named = [word for sae in group for word in ("--sae", sae)]
        for part in range(parts):
            share = f"{part}/{parts}"
            out = ("--out", str(part_folder(work, number, parts, saes_per_task)))
            command = (program, "run", *plain, *named, "--baselines", str(baselines), "--part", share, *out, "--json")
            yield Task(name=f"evaluate SAEs {number} part {share}", command=command, work=1)


def part_folder(work: Path, group: int, parts: int, saes_per_task: int) -> Path:
    """The folder for the parts of a group of SAEs. A run with another division, as on a cluster of another size, uses another one."""
    return work / "parts" / f"{parts}-by-{saes_per_task}" / f"saes-{group:04}"


def merge(program: str, arguments: Sequence[str], work: Path, parts: int, saes_per_task: int) -> str:
    """Merges the parts; returns what one process would have printed."""
    _, saes = prepare(arguments)
    folders = [str(part_folder(work, number, parts, saes_per_task)) for number in range(len(groups(saes, saes_per_task)))]
    out = [word for name in ("--out", "--metrics", "--by") for value in given.values(arguments, name) for word in (name, value)]
    as_json = ["--json"] if "--json" in arguments else []
    return printed_by([program, "merge", *folders, *out, *as_json])
