#!/usr/bin/env python3
"""Kills `harvest plan` and `harvest run` at every write, sync and rename, and at random moments; breaks their disk in every
possible way; then resumes, and compares every byte with an uninterrupted harvest.

Proves: a harvest killed at any operation resumes to the same bytes
Needs: LibTorch; root for --real-disks
Takes: minutes

  scripts/check crash                   everything; some minutes on two cores
  scripts/check crash --random 200      with 200 random moments in place of 50
  scripts/check crash --quick           every eighth boundary and 6 moments; seconds, once built
  scripts/check crash --seed 7          the random moments of an earlier run
  scripts/check crash --real-disks      also a real full disk and a real read-only one; needs permission to mount them
  scripts/check crash --programs DIR    built programs with failpoints [default: builds them]

After each kill and failure, everything with its final name must be whole: the shards in the manifest must pass `store verify`, and
no file or folder without a dot before its name may be half-written. Readers also poll a cache while it is being written.
Prints one line of counts, and ends with 1 if a byte differs or anything half-written was seen.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cache-tests"))
from small_cache import Programs, say  # noqa: E402
from trial import DIVISIBLE, SYNCS, Trial  # noqa: E402


def in_parallel(title: str, work, jobs: list) -> None:
    """Do the jobs on all cores, and print progress."""
    started = said = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for done, _ in enumerate(pool.map(work, jobs), 1):
            now = time.monotonic()
            if now - said > 5 or done == len(jobs):
                left = (now - started) / done * (len(jobs) - done)
                say(f"  {title}: {done} of {len(jobs)}, {left:.0f} s left")
                said = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, metavar="N", help="random moments [default: 50]")
    parser.add_argument("--quick", action="store_true", help="a sample of the boundaries only")
    parser.add_argument("--seed", type=int, help="of the random moments [default: random]")
    parser.add_argument("--real-disks", action="store_true", help="also break a small file system in memory; fails without permission to mount")
    parser.add_argument("--programs", type=Path, metavar="DIR", help="built programs with failpoints [default: builds them]")
    given = parser.parse_args()
    step, moments = (8, 6) if given.quick else (1, 50)
    moments = moments if given.random is None else given.random
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed

    with tempfile.TemporaryDirectory(prefix="hayloft-crash-") as name:
        scratch = Path(name)
        say("Building harvest with failpoints")
        trial = Trial(scratch, Programs(given.programs) if given.programs else Programs.build(scratch))
        for scenario in trial.scenarios:
            say(f"  {scenario.name}: {len(scenario.boundaries)} boundaries, {scenario.seconds:.1f} s")
        say(f"seed {seed}")

        kills = [(scenario, "kill", number) for scenario in trial.scenarios for number in scenario.numbers()]
        kills += [(scenario, "torn", number) for scenario in trial.scenarios for number in scenario.numbers(*DIVISIBLE)]
        in_parallel("killed at boundaries", trial.kill_at, kills[::step])

        # Add a quarter of the run's time, for moments after its last write.
        drawn = random.Random(seed)
        longest = 1.25 * trial.run.seconds
        in_parallel("killed at moments", trial.kill_after, [drawn.uniform(0, longest) for _ in range(moments)])

        failures = [(scenario, "broken-sync", number) for scenario in trial.scenarios for number in scenario.numbers(*SYNCS)]
        # The disk stays broken from a boundary on, so a few of each kind are enough.
        for fault in ("full", "read-only"):
            failures += [(scenario, fault, number) for scenario in trial.scenarios for number in scenario.numbers()[::6]]
        in_parallel("broken disks", trial.fail_at, failures[::step])
        if given.real_disks:
            trial.real_disks()

        trial.read_while_written(1 if given.quick else 6)
        say(f"read {trial.counts['reads']} times while it was being written")
        passed = {boundary for scenario in trial.scenarios for boundary in scenario.boundaries}
        say(f"killed before {len(trial.killed_at & passed)} of {len(passed)} different operations")

    counts = trial.counts
    verdict = "all resumed to identical bytes" if not trial.faults else f"{len(trial.faults)} WRONG"
    print(
        f"crash: {counts['kills']} kill points, {counts['moments']} random moments, {counts['failures']} disk failures: "
        f"{verdict}; {counts['half']} half-visible"
    )
    sys.exit(1 if trial.faults else 0)


if __name__ == "__main__":
    main()
