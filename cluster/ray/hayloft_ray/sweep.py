"""Fine-tunes an SAE with every combination of some settings."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hayloft_ray import arguments as given
from hayloft_ray.tasks import Task


@dataclass(frozen=True)
class Axis:
    """An option of `evaluate finetune` and the values to try."""

    option: str
    values: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> "Axis":
        """`learning-rate=1e-4,5e-4`"""
        name, equals, values = text.partition("=")
        chosen = tuple(value for value in values.split(",") if value)
        if not equals or not name or not chosen:
            raise given.ArgumentError(f"--grid {text}: expected OPTION=VALUE,VALUE, such as learning-rate=1e-4,5e-4")
        if len(set(chosen)) != len(chosen):
            raise given.ArgumentError(f"--grid {text}: expected each value once")
        return Axis(name.removeprefix("--"), chosen)


def combinations(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Every combination, the last axis fastest."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield {axis.option: value for axis, value in zip(axes, values, strict=True)}


def name_of(combination: dict[str, str]) -> str:
    """The combination as a folder name."""
    return ",".join(f"{option}={value}".replace("/", "_") for option, value in combination.items())


def tasks(program: str, arguments: Sequence[str], axes: Sequence[Axis]) -> Iterator[Task]:
    """One task a combination, with its output in its folder in --out. An existing one is not trained again."""
    given.refuse(arguments, "evaluate finetune", "--json", "--resume", *(f"--{axis.option}" for axis in axes))
    out = Path(given.value(arguments, "--out", "evaluate finetune"))
    plain = given.without(arguments, "--out")
    for combination in combinations(axes):
        options = [word for option, value in combination.items() for word in (f"--{option}", value)]
        folder = out / name_of(combination)
        command = (program, "finetune", *plain, *options, "--out", str(folder), "--resume", "--json")
        yield Task(name=f"finetune {name_of(combination)}", command=command, work=1)


def figures(printed: str) -> dict[str, float | None]:
    """The figures of the fine-tuned SAE, the last of the printed results."""
    last = json.loads(printed)[-1]
    return {name: last.get(name) for name in ("l0", "ce_recovered", "ce_sae", "explained_variance", "explained_variance_pooled", "mse")}


def table(rows: dict[str, dict[str, float | None]]) -> str:
    """A table of the combinations, sorted by loss recovered, the best first."""
    lines = [f"{'L0':>10} {'CE rec. %':>10} {'SAE CE':>9} {'EV %':>9} {'EV pooled %':>11} {'MSE':>11}  settings"]
    ordered = sorted(rows.items(), key=lambda row: -(row[1]["ce_recovered"] or float("-inf")))
    for name, row in ordered:
        show = [(row["l0"], 1, 10), (row["ce_recovered"], 100, 10), (row["ce_sae"], 1, 9)]
        show += [(row["explained_variance"], 100, 9), (row["explained_variance_pooled"], 100, 11)]
        cells = [f"{factor * value:>{width}.4f}" if value is not None else "–".rjust(width) for value, factor, width in show]
        mse = row["mse"]
        lines.append(" ".join(cells) + (f" {mse:>11.4f}" if mse is not None else " " + "–".rjust(11)) + f"  {name}")
    return "\n".join(lines)
