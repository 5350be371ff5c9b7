#!/usr/bin/env python3
"""Builds the programs and finds them.

    programs=$(scripts/checks/programs.py [arguments of cargo build])
        sets up, builds with --locked and these arguments, and prints the folder of the programs
    programs=$(scripts/checks/programs.py --given DIR PROGRAM...)
        builds nothing: prints the folder if it has these programs, and fails otherwise

In Python, where the command line has the option --programs: `programs.asked(__doc__, …)`, or, beside other options,
`programs.add_option(parser)` and `programs.given_or_built(arguments.programs, …)`. `programs.quietly` runs one.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("harvest", "store", "evaluate")
ALL_TARGETS = ("--quiet", "--workspace", "--all-targets")
"""Builds all targets of the workspace, so that nothing is built again after `cargo test --workspace`."""


def target(profile: str) -> Path:
    """The folder of the programs that cargo builds in the profile `debug` or `release`."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / profile


def build(*arguments: str) -> Path:
    """Runs scripts/setup and `cargo build` with the arguments; returns the folder of the programs."""
    for words in ([str(ROOT / "scripts/setup")], ["cargo", "build", "--locked", *arguments]):
        try:
            code = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
        except FileNotFoundError as error:
            fail(f"{error.filename} is missing")
        if code != 0:
            fail(f"{' '.join(words)} failed")
    return target("release" if "--release" in arguments else "debug")


def given(folder: Path, *names: str) -> Path:
    """The folder, as an absolute path; fails unless it has the programs."""
    folder = folder.resolve()
    for name in names:
        if not (folder / name).is_file():
            fail(f"{folder / name}: expected a program, found none")
    return folder


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--programs", type=Path, metavar="DIR", help="built programs [default: builds them]")


def given_or_built(folder: Path | None, *arguments: str, names: Sequence[str] = PROGRAMS) -> Path:
    """The folder of the option --programs, which must have these programs, or that of programs built with the arguments."""
    return given(folder, *names) if folder else build(*arguments)


def asked(description: str, *arguments: str, names: Sequence[str] = PROGRAMS) -> Path:
    """The folder of the programs, by a command line that has no option but --programs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_option(parser)
    return given_or_built(parser.parse_args().programs, *arguments, names=names)


def quietly(*command: object, **options) -> str:
    """Runs a command that must succeed, and returns its output; ends with all that it printed if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    except FileNotFoundError as error:
        fail(f"{error.filename} is missing")
    if done.returncode != 0:
        fail(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def fail(message: str) -> None:
    sys.exit(f"error: {message}")


def main() -> None:
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(__doc__.strip())
    elif sys.argv[1:2] == ["--given"]:
        if len(sys.argv) < 3:
            fail("--given takes a folder")
        print(given(Path(sys.argv[2]), *sys.argv[3:]))
    else:
        print(build(*sys.argv[1:]))


if __name__ == "__main__":
    main()
