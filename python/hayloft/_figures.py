"""Figures of SAEs: the program ``evaluate`` run from Python, and results files as data frames."""

import collections
import json
import os
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from hayloft import _programs
from hayloft._errors import Error
from hayloft._progress import Progress

FRAMES = ("pandas", "polars")
ROWS = "rows"
"""Names a list of dicts, for environments without data frames."""
KL = ("kl", "kl_ablated", "kl_recovered")


def evaluate(
    cache,
    saes: "str | os.PathLike | Iterable",
    *,
    model: "str | os.PathLike | None" = None,
    sections: "str | Iterable[str] | None" = None,
    exclude: "str | None" = None,
    outlier_norm: "str | float | None" = None,
    scale: "str | float | None" = None,
    bootstrap: "bool | int" = False,
    kl: "bool | str" = False,
    device: "str | None" = None,
    out: "str | os.PathLike | None" = None,
    frame: "str | None" = None,
    options: "Iterable[str]" = (),
):
    """Evaluates SAEs on a cache: runs ``evaluate run`` and returns its figures, a row for each SAE and section.

    ``cache`` is a :class:`Cache`, a folder or a location; ``saes`` one path or pattern, or several. Without
    ``model``, the folder of the checkpoint, only L0, error and explained variance are measured. The other arguments
    are the program's options of these names, and ``options`` are further words of its command line. Progress goes to
    stderr.

    The result is a data frame of pandas, of polars if pandas is not installed, or as ``frame`` says; ``"rows"`` is a
    list of dicts. With ``bootstrap`` a figure has its 95 % interval in ``FIGURE_low`` and ``FIGURE_high``.
    docs/metrics.md and RESULTS.md define the columns.
    """
    make = frame_maker(frame)
    given = {
        "model": model,
        "exclude": exclude,
        "outlier-norm": outlier_norm,
        "scale": scale,
        "device": device,
        "out": out,
    }
    command = command_line("run", cache, saes, sections, given)
    for name, value in [("bootstrap", bootstrap), ("kl", kl)]:
        if value is not False and value is not None:
            command.append(f"--{name}" if value is True else f"--{name}={value}")
    found = json.loads(run("evaluate", [*command, *options]))
    return make([row_of(result) for result in (found if isinstance(found, list) else [found])])


def results(folder: "str | os.PathLike", *, frame: "str | None" = None):
    """The figures that ``evaluate run --out`` wrote below a folder: a row for each SAE and section of every
    ``results.json``, with its ``folder``. A data frame as of :func:`evaluate`."""
    make, folder = frame_maker(frame), Path(folder)
    paths = [folder] if folder.is_file() else sorted(folder.rglob("results.json"))
    if not paths:
        raise Error(
            f"{folder}: expected results.json in it or below it, got none. `evaluate run --out` writes it", "not_found"
        )
    rows = []
    for path in paths:
        try:
            found = json.loads(path.read_bytes())
            rows += [{"folder": str(path.parent), **row_of(result)} for result in found]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Error(f"{path}: expected results of `evaluate run`, got another file: {error!r}", "damaged") from None
        except OSError as error:
            raise Error(f"{path}: cannot read: {error.strerror}", "io") from None
    return make(rows)


def row_of(result: dict) -> dict:
    """The figures of a result, without sums, shards and provenance."""
    row = {name: result[name] for name in ("sae", "section", "site")}
    row |= {
        name: value for name, value in result.items() if not isinstance(value, (dict, list)) and name != "definitions"
    }
    row |= {name: (result.get("kl") or {})[name] for name in KL if name in (result.get("kl") or {})}
    row |= {f"latents_{name}": (result.get("latents") or {}).get(name) for name in ("dead", "dense")}
    intervals = result.get("intervals") or {}
    for name, (low, high) in (intervals.get("figures") or {}).items():
        row |= {f"{name}_low": low, f"{name}_high": high}
    for name, figure in ((intervals.get("difference") or {}).get("figures") or {}).items():
        low, high = figure["interval"]
        row |= {
            f"{name}_difference": figure["difference"],
            f"{name}_difference_low": low,
            f"{name}_difference_high": high,
        }
    return row | {"manifest_blake3": result["provenance"]["manifest_blake3"]}


def frame_maker(name: "str | None"):
    """The data frame of rows, of pandas or polars."""
    if name == ROWS:
        return list
    if name not in (None, *FRAMES):
        raise Error(f"frame: expected pandas, polars or rows, got {name!r}")
    for package in FRAMES if name is None else (name,):
        try:
            return __import__(package).DataFrame
        except ImportError:
            pass
    missing = f"data frame: expected the package {name or 'pandas or polars'}, got none. Install it with pip"
    raise Error(missing, "missing_package")


def command_line(command: str, cache, saes, sections, given: dict) -> "list[str]":
    """A command of ``evaluate`` that prints JSON. Options whose value is None are left out."""
    words = [command, "--json", "--cache", os.fspath(getattr(cache, "place", cache))]
    for sae in several(saes):
        words += ["--sae", os.fspath(sae)]
    for section in several(sections):
        words += ["--section", section]
    for name, value in given.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return words


def several(value) -> list:
    """One path or name, or several, as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)


def run(name: str, arguments: "list[str]") -> str:
    """Runs a program of the package and returns what it prints; its messages go to stderr as they come."""
    try:
        path, environment = _programs.command(name)
    except SystemExit as error:
        raise Error(str(error).removeprefix("error: "), "missing_package") from None
    progress = Progress()
    try:
        process = subprocess.Popen(
            [path, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=progress.environment(environment),
        )  # fmt: skip
    except OSError as error:
        raise Error(f"{path}: cannot run: {error.strerror}", "io") from None
    last = collections.deque(maxlen=8)

    def tell() -> None:
        for line in process.stderr:
            if progress.show(line):
                last.append(line)

    with process:
        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            printed = process.stdout.read()
        except BaseException:
            process.terminate()
            raise
        finally:
            process.wait()
            teller.join()
            progress.close()
    if process.returncode != 0:
        raise Error(f"{name} ended with {process.returncode}: {''.join(last).strip()}", "program")
    return printed


class Picture:
    """A picture of a report, which a notebook shows."""

    def __init__(self, svg: str):
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg


def picture(path: "str | os.PathLike") -> Picture:
    """A picture that ``evaluate report`` wrote, such as ``report/figures/figure-l0-ce-1.svg``."""
    path = Path(path)
    if not path.is_file():
        names = sorted(other.name for other in path.parent.glob("*.svg"))
        held = ", ".join(names) if names else "none"
        raise Error(f"{path}: expected a picture of a report, got none. Pictures in {path.parent}: {held}", "not_found")
    svg = path.read_text(encoding="utf-8")
    if not svg.startswith("<svg"):
        raise Error(f"{path}: expected an SVG picture of a report, got other content", "damaged")
    return Picture(svg)
