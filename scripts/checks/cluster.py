#!/usr/bin/env python3
"""Runs Hayloft on a local Ray cluster of four nodes with one address each, and compares the results with one process.

Proves: a Ray cluster gives the bytes of one process, whatever is killed or stopped
Needs: Ray environment, LibTorch
Takes: 15 minutes

  scripts/check cluster [NAME...]     only these of its checks
  scripts/check cluster --list        their names

Harvest, rollouts and evaluation of the demo's models, once uninterrupted and once with programs, Ray's workers and a whole node killed
every few seconds; two drivers at a time; a restarted head; workers that do not fit; the cost of scheduling; ten thousand simulated
shards.
"""

import os
import sys
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "cluster/ray/checks/main.py"


def main() -> None:
    environment.enter("cluster")
    if "--list" not in sys.argv[1:]:
        programs.build("--release")
    environment.put_on_path("cluster")
    os.execv(sys.executable, [sys.executable, str(MAIN), *sys.argv[1:]])


if __name__ == "__main__":
    main()
