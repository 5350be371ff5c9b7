#!/usr/bin/env python3
"""Runs small inputs that stand for public bug reports, and compares what comes out with what should.

Proves: inputs of public bug reports are read, refused by name or told, as they should be
Needs: ../shared, SAELens environment, LibTorch
Takes: minutes

  scripts/check cases [NAME…]           all cases, or those whose names begin so: conversations, pad/used
      --files DIR                       the folder of released files [default: ../shared/released]
      --cases DIR                       cases that cases/make.py made already [default: makes them]
      --programs DIR                    built programs [default: builds them in debug]

cases/make.py makes each case: a folder with its files and case.json, which says how it is run and what must come out. Exit code 1
if a case comes out otherwise.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import environment
import programs

CASES = Path(__file__).resolve().parent / "cases"
ROOT = CASES.parents[2]


def run(commands: list[list[str]], case: Path, out: Path, folder: Path) -> tuple[int, str, list[str]]:
    """Runs commands up to the first that fails. Returns its status, all that was printed, and the figures or tokens."""
    out.mkdir()
    printed, figures = "", []
    for words in commands:
        words = [word.replace("{case}", str(case)).replace("{out}", str(out)) for word in words]
        done = subprocess.run([folder / words[0], *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        printed += done.stdout + done.stderr
        if done.returncode != 0:
            return done.returncode, printed, []
        figures += tokens(done.stdout) if words[1] == "plan" else numbers(done.stdout + done.stderr)
    return 0, printed, figures


def tokens(shown: str) -> list[str]:
    """The tokens of the sequences that `harvest plan --show` prints, whatever their sections."""
    sequences = []
    for line in shown.splitlines():
        if line.startswith("sequence "):
            sequences.append([])
        elif sequences and (found := re.match(r"(?: *\d+)? +\w+ +\d+  (.*)$", line)):
            sequences[-1] += found.group(1).split("·")
        elif line.startswith("planned"):
            break
    return ["·".join(sequence) for sequence in sequences]


def numbers(shown: str) -> list[str]:
    """Norms, scales and the figures of tables."""
    lines = [line for line in shown.splitlines() if "mean norm" in line or re.match(r"^\S+ .* \d+\.\d+", line)]
    return [number for line in lines if " tokens/s" not in line for number in re.findall(r"-?\d+\.\d{2,}(?:e[-+]?\d+)?", line)]


def problem(case: Path, contents: dict, scratch: Path, folder: Path) -> str | None:
    """What is wrong with a case; None if nothing is."""
    expect, says = contents["expect"], contents.get("says")
    expected = None
    if contents.get("reference"):
        status, printed, expected = run(contents["reference"], case, scratch / "reference", folder)
        if status != 0:
            return f"the reference ends with {status}: {printed[-400:]}"
    wrong = []
    for index, commands in enumerate(contents["runs"]):
        status, printed, figures = run(commands, case, scratch / str(index), folder)
        one = judged(expect, says, contents, status, printed, figures, expected)
        if one is None:
            return None
        wrong.append(one)
    return "; ".join(wrong)


def judged(expect: str, says: str | None, contents: dict, status: int, printed: str, figures: list[str], expected: list[str] | None) -> str | None:
    ending = f"status {status}: {printed[-600:].strip()}"
    if status not in (0, 1) or status == 1 and (never := contents.get("never")) and re.search(never, printed):
        return ending
    told = bool(says) and re.search(says, printed) is not None
    if expect == "refused" or expect == "same or refused" and status == 1:
        return None if status == 1 and told else f"expected a refusal that says {says}, got {ending}"
    if expect == "told":
        return None if told else f"expected {says} in what is printed, got {ending}"
    if status != 0:
        return f"expected success, got {ending}"
    if (shows := contents.get("shows")) and not re.search(shows, printed):
        return f"expected {shows}, got {ending}"
    if expected is not None and (figures != expected or not expected):
        return f"expected {expected}, got {figures}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--files", type=Path, default=ROOT.parent / "shared" / "released", metavar="DIR")
    parser.add_argument("--cases", type=Path, metavar="DIR")
    programs.add_option(parser)
    arguments = parser.parse_args()
    if not (arguments.files / ".." / "data").is_dir():
        programs.fail(f"{arguments.files}: expected a folder of released files with ../data beside it, got none. Name one with --files")
    folder = programs.given_or_built(arguments.programs, *programs.ALL_TARGETS, names=("harvest", "evaluate"))
    failed, count = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        cases = arguments.cases or Path(temporary) / "cases"
        if not arguments.cases:
            programs.quietly(environment.make("goldens") / "bin/python", CASES / "make.py", cases, arguments.files)
        for path in sorted(cases.glob("*/case.json")):
            contents = json.loads(path.read_text())
            if arguments.names and not any(contents["name"].startswith(name) for name in arguments.names):
                continue
            count += 1
            with tempfile.TemporaryDirectory() as scratch:
                wrong = problem(path.parent.resolve(), contents, Path(scratch), folder)
            print(f"{'ok' if wrong is None else 'NO':<4}{contents['name']}" + (f"\n    {wrong}" if wrong else ""), flush=True)
            failed += [contents["name"]] if wrong else []
    print(f"{count - len(failed)} of {count} cases come out as they should" + (f"; not: {', '.join(failed)}" if failed else ""))
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
