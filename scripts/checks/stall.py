#!/usr/bin/env python3
"""Stops a worker of `harvest run --share` at a random moment for longer than its lease, and resumes it.

Proves: workers that stop for longer than their lease change no byte
Needs: LibTorch
Takes: minutes

  scripts/check stall                   20 moments in a folder and in a bucket each
  scripts/check stall --stalls 3        3 moments in each
  scripts/check stall --seed 7          the moments of an earlier run
  scripts/check stall --programs DIR    built programs, with `examples/loopback` [default: builds them in debug]

Every process must end with 0, and the cache must be that of one process to the byte.

Before that, the same with the store's writers alone (store/tests/remote/stalls.rs), where workers are also killed, and where two
kinds of hardware make different bytes of the same shard. Prints one line of counts, and ends with 1 if anything differs, a process
fails or one does not end.
"""

import argparse
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import programs
from programs import quietly

ROOT = Path(__file__).resolve().parents[2]
LEASE = 1
STALL = LEASE + 0.8
PATIENCE = 180


def say(words: str) -> None:
    print(words, flush=True)


def same_files(one: Path, other: Path) -> bool:
    def files(folder: Path) -> set:
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {path for path in found if path.name != ".lock"}

    names = files(one)
    return names == files(other) and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


class Trials:
    def __init__(self, built: Path, scratch: Path, seed: int) -> None:
        self.programs, self.scratch, self.random = built, scratch, random.Random(seed)
        self.model = ROOT / "tests/fixtures/tiny-llama"
        self.site = ["--site", "blocks.1.hook_resid_pre", "--site", "blocks.2.hook_resid_pre"]
        self.planned, self.whole = scratch / "planned", scratch / "whole"
        quietly(built / "harvest", "plan", "--model", self.model, "--data", ROOT / "data-manifests/tiny-llama.toml",
                "--shard-tokens", "512", "--row-group-rows", "256", "--out", self.planned)
        shutil.copytree(self.planned, self.whole)
        began = time.monotonic()
        quietly(built / "harvest", "run", "--model", self.model, *self.site, "--out", self.whole)
        self.seconds = time.monotonic() - began
        self.processes = 0

    def stall(self, place: str, environment: dict) -> None:
        """Workers on one cache, one of which is stopped at a random moment."""
        command = [self.programs / "harvest", "run", "--share", "--lease", str(LEASE), "--model", self.model, *self.site,
                   "--threads", "1", "--out", place, "--scratch", self.scratch / "shards"]
        count = self.random.randint(2, 4)
        logs = [tempfile.TemporaryFile("w+", dir=self.scratch) for _ in range(count)]
        workers = [
            subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            for log in logs
        ]
        time.sleep(self.random.uniform(0, 1.5 * self.seconds))
        # A process that has not been waited for keeps its number.
        os.kill(workers[0].pid, signal.SIGSTOP)
        time.sleep(STALL)
        os.kill(workers[0].pid, signal.SIGCONT)
        until = time.monotonic() + PATIENCE
        for worker, log in zip(workers, logs):
            try:
                code = worker.wait(max(0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                code = "no end"
            if code != 0:
                for other in workers:
                    other.kill()
                log.seek(0)
                sys.exit(f"stall: a worker on {place} ended with {code}\n{log.read()}")
        self.processes += count

    def in_a_folder(self, number: int) -> None:
        cache = self.scratch / f"folder-{number}"
        shutil.copytree(self.planned, cache)
        self.stall(str(cache), dict(os.environ))
        self.compare(cache)

    def in_a_bucket(self, number: int, environment: dict) -> None:
        url, back = f"s3://farm/stalls/{number}", self.scratch / f"bucket-{number}"
        quietly(self.programs / "store", "push", self.planned, url, env=environment)
        self.stall(url, environment)
        quietly(self.programs / "store", "pull", url, back, env=environment)
        self.compare(back)

    def compare(self, cache: Path) -> None:
        if not same_files(self.whole, cache):
            sys.exit("stall: the cache differs from that of one process:\n" + subprocess.run(
                ["diff", "-rq", "-x", ".lock", str(self.whole), str(cache)], capture_output=True, text=True, check=False).stdout)
        shutil.rmtree(cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stalls", type=int, default=20, metavar="N", help="moments, in a folder and in a bucket each [default: 20]")
    parser.add_argument("--seed", type=int, help="of the moments [default: random]")
    programs.add_option(parser)
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    built = programs.given_or_built(given.programs, *programs.ALL_TARGETS, names=("harvest", "store", "examples/loopback"))
    say(f"seed {seed}")
    began = time.monotonic()
    environment = dict(os.environ, HAYLOFT_STALLS=str(given.stalls), HAYLOFT_STALLS_SEED=str(seed))
    store = ["cargo", "test", "--quiet", "--locked", "--workspace", "--test", "store", "stalls::", "--", "--nocapture"]
    subprocess.run(store, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)

    with tempfile.TemporaryDirectory(prefix="hayloft-stalls-") as name:
        trials = Trials(built, Path(name), seed)
        for number in range(given.stalls):
            trials.in_a_folder(number)
        say(f"  {given.stalls} stalls of harvests in a folder")
        server = subprocess.Popen([str(built / "examples/loopback")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            environment = dict(os.environ)
            for line in server.stdout:
                if line.strip() == "ready":
                    break
                key, value = line.strip().removeprefix("export ").split("=", 1)
                environment[key] = value.strip("'\"")
            for number in range(given.stalls):
                trials.in_a_bucket(number, environment)
            say(f"  {given.stalls} stalls of harvests in a bucket")
        finally:
            server.kill()
    say(f"{trials.processes} processes of {2 * given.stalls} harvests: each ended with 0, every byte the same, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
