#!/usr/bin/env python3
"""Tests readers and writers of the cache format with the cases in store/conformance; README.md there specifies each.

Proves: readers and writers agree with the cases of the format, and damage is refused
Needs: Rust; readers environment
Takes: seconds

  scripts/check conformance                             the store's reader, verifier and writer, and a reader on pyarrow
  scripts/check conformance --reader 'PROGRAM ARGS'     another reader; builds nothing, needs Python 3 alone
  scripts/check conformance --reader 'PROGRAM ARGS' --no-checksums     one that verifies no checksums
  scripts/check conformance --writer 'PROGRAM ARGS'     another writer, whose caches the store reads and verifies

--programs DIR has `store` and `examples/conformance_{reader,writer}` [default: builds them in debug].
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import environment
import programs

CONFORMANCE = Path(__file__).resolve().parents[2] / "store/conformance"
READER, WRITER = "examples/conformance_reader", "examples/conformance_writer"


def test(*arguments: object) -> None:
    """Runs the test; ends the check if it fails."""
    code = subprocess.run(
        [sys.executable, CONFORMANCE / "run.py", *map(str, arguments)], stdin=subprocess.DEVNULL
    ).returncode
    if code != 0:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", metavar="COMMAND", help="tests this reader")
    parser.add_argument("--no-checksums", action="store_true", help="the reader verifies no checksums")
    parser.add_argument("--writer", metavar="COMMAND", help="tests this writer")
    programs.add_option(parser)
    given = parser.parse_args()
    if given.no_checksums and not given.reader:
        parser.error("--no-checksums needs --reader")
    if given.reader:
        test("--reader", given.reader, *["--no-checksums"] * given.no_checksums)
    if given.reader and not given.writer:
        return
    built = programs.given_or_built(given.programs, *programs.ALL_TARGETS, names=("store", READER, WRITER))
    reader, verifier, writer = (
        shlex.join(map(str, words)) for words in ([built / READER], [built / "store", "verify"], [built / WRITER])
    )
    test("--reader", reader, "--verifier", verifier, "--writer", given.writer or writer)
    if not given.writer:
        python = environment.make("readers") / "bin/python"
        test("--reader", shlex.join([str(python), str(CONFORMANCE / "read_with_pyarrow.py")]), "--no-checksums")


if __name__ == "__main__":
    main()
