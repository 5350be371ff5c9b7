#!/usr/bin/env python3
"""Checks the programs on data that may not be redistributed, beside the project at ../shared/data.

Proves: sections, chat templates and excerpts are right on the study's own data
Needs: ../shared/data, LibTorch
Takes: seconds

  scripts/check shared-data [--programs DIR]     built programs, with `examples/shared_data` [default: builds them in debug]

Sections of the study's 55 Alpaca conversations token by token, Gemma's chat template, and The Pile's excerpts. Exit code 1 if the
data is absent. Not part of scripts/test, which runs the same with and without that data.
"""

import os
from pathlib import Path

import programs

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = "examples/shared_data"


def main() -> None:
    program = programs.asked(__doc__, *programs.ALL_TARGETS, names=[SHARED_DATA]) / SHARED_DATA
    os.chdir(ROOT)
    os.execv(program, [str(program)])


if __name__ == "__main__":
    main()
