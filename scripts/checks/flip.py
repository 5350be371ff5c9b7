#!/usr/bin/env python3
"""Flips one random bit in one file of a cache at a time, reads everything, and checks that the flip is detected.

Proves: a flipped bit in any file of a cache is detected
Needs: LibTorch
Takes: a minute

  scripts/check flip                   1000 flips
  scripts/check flip --flips 20000     more flips
  scripts/check flip --seed 7          the flips of an earlier run
  scripts/check flip --programs DIR    built programs, with `flip` [default: builds them]

Bytes are drawn uniformly over all files of a small cache except the lock, and each kind of file is hit at least twice.
After a flip in one of the cache's files, everything is read and `verify` runs; after a flip in a baseline that `evaluate` keeps,
or in the manifest, `evaluate run` runs. Each flip must be an error that names the file or, in a byte that no read uses, be
reported by `verify`. For a baseline, `evaluate` must report that it computes it again, and get the same figures.
Prints one line of counts, and ends with 1 after a wrong figure or an undetected flip.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cache-tests"))
from small_cache import MODEL, SAE, Programs, SmallCache, files, say  # noqa: E402

BASELINES = "baselines/"
Flip = tuple[str, int, int]  # a file, a byte in it, a bit


def kind(name: str) -> str:
    """The kind of a file: its path without numbers."""
    parts = ["N" if part.isdigit() else part for part in Path(name).parts]
    return BASELINES + "*" if name.startswith(BASELINES) else "/".join(parts)


def draw(contents: dict[str, bytes], count: int, chance: random.Random) -> list[Flip]:
    """Flips, uniformly over all bytes, with at least two in each kind of file."""
    names = sorted(contents)
    flips = []

    def flip(name: str) -> None:
        flips.append((name, chance.randrange(len(contents[name])), chance.randrange(8)))

    for one in sorted({kind(name) for name in names}):
        for _ in range(2):
            flip(chance.choice([name for name in names if kind(name) == one]))
    while len(flips) < count:
        flip(chance.choices(names, weights=[len(contents[name]) for name in names])[0])
    return flips


def judge_reads(helper: Path, cache: Path, flips: list[Flip]) -> list[str]:
    """The helper's verdict on each flip."""
    lines = "".join(f"{name}\t{position}\t{bit}\n" for name, position, bit in flips)
    done = subprocess.run([helper, cache], input=lines, stdout=subprocess.PIPE, text=True)
    judged = done.stdout.splitlines()
    if done.returncode != 0 or len(judged) != len(flips):
        sys.exit(f"error: the helper ended with {done.returncode} after {len(judged)} of {len(flips)} flips")
    return judged


class Evaluation:
    """`evaluate run` on the whole cache, and on one with a flipped bit."""

    def __init__(self, programs: Programs, cache: Path) -> None:
        self.programs, self.cache = programs, cache
        self.programs.must("evaluate", *self.command(cache))
        # With kept baselines, like each later run.
        self.figures = self.programs.must("evaluate", *self.command(cache))
        self.contents = files(cache)

    @staticmethod
    def command(cache: Path) -> list[object]:
        return ["run", "--threads", "1", "--model", MODEL, "--cache", cache, "--sae", SAE, "--json"]

    def judge(self, copy: Path, flip: Flip) -> str:
        """One flip in the copy, which is restored afterwards."""
        name, position, bit = flip
        path = copy / name
        changed = bytearray(self.contents[name])
        changed[position] ^= 1 << bit
        path.write_bytes(changed)
        done = self.programs.run("evaluate", *self.command(copy))
        repaired = path.read_bytes() == self.contents[name]
        path.write_bytes(self.contents[name])
        if done.returncode != 0:
            return "read" if name in done.stderr else f"WRONG: an error that does not name it: {done.stderr.strip()}"
        same = without_paths(done.stdout, copy) == without_paths(self.figures, self.cache)
        if not same:
            return "WRONG: other figures, without an error"
        if not name.startswith(BASELINES):
            return "WRONG: evaluate did not notice"
        if Path(name).name not in done.stderr:
            return "WRONG: evaluate did not say so"
        return "again" if repaired else "WRONG: the baseline was not kept anew"


def without_paths(output: str, cache: Path) -> list[dict]:
    return json.loads(output.replace(str(cache), "CACHE"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000, metavar="N", help="how many bits [default: 1000]")
    parser.add_argument("--seed", type=int, help="of the flips [default: random]")
    parser.add_argument("--programs", type=Path, metavar="DIR", help="built programs, with `flip` [default: builds them]")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed

    with tempfile.TemporaryDirectory(prefix="hayloft-flip-") as name:
        scratch = Path(name)
        say("Building the programs and the reader")
        programs = Programs(given.programs) if given.programs else Programs.build(scratch)
        made, cache = SmallCache.describe(scratch), scratch / "cache"
        programs.must("harvest", *made.plan(cache))
        programs.must("harvest", *made.run(cache))
        evaluation = Evaluation(programs, cache)
        contents = evaluation.contents
        flips = draw(contents, given.flips, random.Random(seed))
        say(f"{len(flips)} flips in {len(contents)} files of {sum(map(len, contents.values()))} bytes; seed {seed}")

        threads = os.cpu_count() or 2
        copies = [shutil.copytree(cache, scratch / f"copy-{number}") for number in range(threads)]
        kept = [flip for flip in flips if flip[0].startswith(BASELINES)]
        # The helper reads; a few flips check that the program sees the same.
        kept += [flip for flip in flips if flip[0] == "manifest.json"][:4]
        stored = [flip for flip in flips if flip not in kept]
        with ThreadPoolExecutor(threads) as pool:
            shares = [stored[number::threads] for number in range(threads)]
            read = pool.map(lambda job: judge_reads(programs.folder / "flip", *job), zip(copies, shares))
            judged = [pair for share, said in zip(shares, read) for pair in zip(share, said)]
            say(f"  {len(judged)} read and verified")
            shares = [kept[number::threads] for number in range(threads)]
            for share in pool.map(lambda job: [(flip, evaluation.judge(job[0], flip)) for flip in job[1]], zip(copies, shares)):
                judged += share
            say(f"  {len(kept)} of baselines and the manifest evaluated")

    wrong = [(flip, said) for flip, said in judged if said.startswith("WRONG")]
    for (name, position, bit), said in wrong:
        say(f"bit {bit} of byte {position} of {name}: {said}")
    for one, count in sorted(Counter(kind(flip[0]) for flip in flips).items()):
        say(f"  {count:5} in {one}")
    counts = Counter(said for _, said in judged)
    figures = sum("figures" in said or "numbers" in said for _, said in wrong)
    print(
        f"flip: {len(flips)} bits flipped: {counts['read']} reported on read, {counts['verify']} in bytes that no read uses "
        f"and reported by verify, {counts['again']} in baselines computed again; {figures} wrong figures, "
        f"{len(wrong) - figures} unnoticed or not named; seed {seed}"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
