#!/usr/bin/env python3
"""Builds the programs and finds them.

    programs=$(scripts/checks/programs.py [arguments of cargo build])
        sets up, builds with --locked and these arguments, and prints the folder of the programs
    programs=$(scripts/checks/programs.py --all)
        the same for all programs and examples of the workspace
    programs=$(scripts/checks/programs.py --given DIR PROGRAM...)
        builds nothing: prints the folder if it has these programs, and fails otherwise

In Python, where the command line has the option --programs: `programs.asked(__doc__, …)`, or, beside other options,
`programs.add_option(parser)` and `programs.given_or_built(arguments.programs, …)`. `programs.quietly` runs one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("harvest", "store", "evaluate")
ALL_TARGETS = ("--workspace", "--bins", "--examples")
"""Builds programs and examples of the workspace, so that no library is built again after `cargo test --workspace`."""


def target(name: str) -> Path:
    """A folder of cargo's target folder: `debug` and `release` have the programs, `package` has packages."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / name


def build(*arguments: str) -> Path:
    """Runs scripts/setup and `cargo build` with the arguments; returns the folder of the programs.

    Cargo's lines are kept back, and printed if the build fails."""
    if shutil.which("cargo") is None:
        fail("cargo is not on the PATH. Install Rust from https://rustup.rs and run this again")
    if subprocess.run([ROOT / "scripts/setup"], stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        fail("scripts/setup failed")
    command = ["cargo", "build", "--locked", *arguments]
    with tempfile.TemporaryFile("w+") as lines:
        code = run_cargo(command, lines)
        if code != 0:
            lines.seek(0)
            sys.stderr.write(lines.read())
            fail(f"{' '.join(command)} failed")
    return target("release" if "--release" in arguments else "debug")


def run_cargo(command: Sequence[str], lines: TextIO) -> int:
    """Runs `cargo build` with its lines in a file and one line of progress; returns its exit code."""
    show = sys.stderr.isatty()
    count = packages(command) if show else 0
    started = time.monotonic()
    cargo = subprocess.Popen(
        [*command, "--message-format", "json-render-diagnostics"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=lines, text=True,
    )  # fmt: skip
    built, compiled = set(), set()
    for line in cargo.stdout:
        message = json.loads(line)
        if message["reason"] == "compiler-artifact":
            built.add(message["package_id"])
            if not message["fresh"]:
                compiled.add(message["package_id"])
        if compiled and show:
            seconds = time.monotonic() - started
            print(f"\rbuild: {len(built)} of {count} packages, {seconds:.0f} s ", end="", file=sys.stderr, flush=True)
    code = cargo.wait()
    if compiled and code == 0:
        start = "\r" if show else ""
        print(f"{start}build: {len(compiled)} packages in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return code


def packages(command: Sequence[str]) -> int:
    """How many packages a `cargo build` needs."""
    choosing = {"--workspace", "-p", "--features"}
    pairs = zip(command, command[1:])
    chosen = [word for before, word in pairs if word in choosing or before in ("-p", "--features")]
    edges = "normal,build,dev" if "--examples" in command else "normal,build"
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges", edges, "--prefix", "none", "--format", "{p}", "--no-dedupe", *chosen],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return len(set(tree.stdout.splitlines()))


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
    elif sys.argv[1:] == ["--all"]:
        print(build(*ALL_TARGETS))
    elif sys.argv[1:2] == ["--given"]:
        if len(sys.argv) < 3:
            fail("--given takes a folder")
        print(given(Path(sys.argv[2]), *sys.argv[3:]))
    else:
        print(build(*sys.argv[1:]))


if __name__ == "__main__":
    main()
