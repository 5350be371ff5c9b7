#!/usr/bin/env python3
"""Tests readers, verifiers and writers of the cache format with the cases of this folder. README.md specifies each.

  run.py --reader 'PROGRAM ARGUMENTS'                    a reader
  run.py --reader 'PROGRAM ARGUMENTS' --no-checksums     a reader that verifies none: valid caches alone
  run.py --verifier 'PROGRAM ARGUMENTS'                  a verifier
  run.py --writer 'PROGRAM ARGUMENTS' --reader '…' --verifier '…'
                                                         a writer, whose caches the other two read

Prints a line for each program, and for each failure what was expected; ends with 1 if there is one.
"""

import argparse
import json
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = sorted(path for path in (HERE / "cases").iterdir() if path.is_dir())
DAMAGES = json.loads((HERE / "damage.json").read_text())
failures = []


def fail(message):
    failures.append(message)
    print(f"FAILED {message}", file=sys.stderr)


def run(program, *arguments):
    """Exit code, output and error output of a program."""
    words = [*shlex.split(program), *map(str, arguments)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        sys.exit(f"run: {words[0]}: {error.strerror}")
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()


def difference(expected, got, place="$"):
    """The first place where two JSON values differ, in words, or none. Fractions are compared as float32."""
    if isinstance(expected, dict) and isinstance(got, dict):
        if expected.keys() != got.keys():
            return f"{place}: expected the fields {', '.join(expected)}, got {', '.join(got)}"
        pairs = [(expected[name], got[name], f"{place}.{name}") for name in expected]
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{place}: expected {len(expected)} values, got {len(got)}"
        pairs = [(value, got[index], f"{place}[{index}]") for index, value in enumerate(expected)]
    elif (
        isinstance(expected, float)
        and type(got) in (int, float)
        and struct.pack("<f", expected) == struct.pack("<f", got)
    ):
        return None
    elif type(expected) is type(got) and expected == got:
        return None
    else:
        return f"{place}: expected {json.dumps(expected)}, got {json.dumps(got)}"
    return next(filter(None, (difference(*pair) for pair in pairs)), None)


def read_wrong(reader, case, cache):
    """What is wrong with what a reader prints of a cache, and whether it refused to read it."""
    code, output, errors = run(reader, cache)
    if code != 0:
        return f"expected exit code 0, got {code}: {errors}", True
    try:
        got = json.loads(output)
    except ValueError as error:
        return f"expected JSON, got {error}", False
    return difference(json.loads((case / "expected.json").read_text()), got), False


def damaged(damage, folder):
    """A damaged copy of a case's cache."""
    cache = Path(shutil.copytree(HERE / "cases" / damage["case"] / "cache", folder / damage["name"]))
    for edit in damage["edits"]:
        path = cache / edit["file"]
        data = path.read_bytes()
        if "length" in edit:
            path.write_bytes(data[: edit["length"]])
            continue
        start, was = edit["offset"], bytes.fromhex(edit["was"])
        if data[start : start + len(was)] != was:
            sys.exit(f"run: {path}: expected {edit['was']} at byte {start}. damage.json is of other caches")
        path.write_bytes(data[:start] + bytes.fromhex(edit["bytes"]) + data[start + len(was) :])
    return cache


def test_reader(reader, checksums, folder):
    for case in CASES:
        wrong, _ = read_wrong(reader, case, case / "cache")
        if wrong:
            fail(f"reader, {case.name}: {wrong}")
    if not checksums:
        return print(f"reader: {len(CASES)} valid caches; no damaged ones, as it verifies no checksums")
    for damage in DAMAGES:
        wrong, refused = read_wrong(reader, HERE / "cases" / damage["case"], damaged(damage, folder))
        if wrong and not refused:
            fail(f"reader, {damage['name']}: expected a refusal, got other numbers: {wrong}")
        if not wrong and damage["must"] == "refuse":
            fail(f"reader, {damage['name']}: expected a refusal, got exit code 0")
    print(f"reader: {len(CASES)} valid and {len(DAMAGES)} damaged caches")


def test_verifier(verifier, folder):
    for case in CASES:
        # A copy: a verifier may make a lock file.
        code, _, errors = run(verifier, shutil.copytree(case / "cache", folder / case.name))
        if code != 0:
            fail(f"verifier, {case.name}: expected exit code 0, got {code}: {errors}")
    for damage in DAMAGES:
        if run(verifier, damaged(damage, folder))[0] == 0:
            fail(f"verifier, {damage['name']}: expected a refusal, got exit code 0")
    print(f"verifier: {len(CASES)} valid and {len(DAMAGES)} damaged caches")


def test_writer(writer, reader, verifier, folder):
    for case in CASES:
        cache = folder / case.name
        code, _, errors = run(writer, case, cache)
        if code != 0:
            fail(f"writer, {case.name}: expected exit code 0, got {code}: {errors}")
            continue
        wrong, _ = read_wrong(reader, case, cache)
        code, output, errors = run(verifier, cache)
        if wrong or code != 0:
            fail(
                f"writer, {case.name}: "
                + (wrong or f"the verifier refuses the cache: {output.decode(errors='replace')}{errors}")
            )
    print(f"writer: {len(CASES)} caches written, read and verified")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("reader", "verifier", "writer"):
        parser.add_argument(f"--{name}", metavar="COMMAND", help=f"tests this {name}")
    parser.add_argument("--no-checksums", action="store_true", help="the reader verifies no checksums")
    given = parser.parse_args()
    if not (given.reader or given.verifier):
        parser.error("expected --reader or --verifier")
    if given.writer and not (given.reader and given.verifier):
        parser.error("--writer needs --reader and --verifier")
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        scratch = iter(Path(name) / part for part in ("reader", "verifier", "writer"))
        if given.reader:
            test_reader(given.reader, not given.no_checksums, next(scratch))
        if given.verifier:
            test_verifier(given.verifier, next(scratch))
        if given.writer:
            folder = next(scratch)
            folder.mkdir()
            test_writer(given.writer, given.reader, given.verifier, folder)
    if failures:
        sys.exit(f"{len(failures)} failures")


if __name__ == "__main__":
    main()
