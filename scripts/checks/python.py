#!/usr/bin/env python3
"""Tests the Python package in python/ with numpy and pyarrow alone.

Proves: the Python package reads every codec and dtype to the bit, and fails by exceptions
Needs: Rust; python environment
Takes: half a minute

  scripts/check python [--programs DIR] [--python PYTHON] [TEST...]

Puts the built extension module into python/hayloft, harvests small caches of several shards, and runs the tests of
python/tests. The programs and the module of --programs are used; without it they are built. --python is an
interpreter with numpy and pyarrow, for example one that has torch, whose tests run then too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python"
MODULE = "lib_hayloft.so"
MODEL = ROOT / "tests/fixtures/tiny-llama"
DATA = ROOT / "data-manifests/tiny-llama.toml"
STORED = [("bf16", "planes", 64), ("f32", "raw", 64), ("f16", "planes:9", 0), ("bf16", "int8", 64)]
SITES = ["blocks.1.hook_resid_pre", "blocks.2.hook_resid_pre"]


def newest_module(built: Path) -> Path:
    """The extension module: where `cargo build` puts it, or `cargo test`."""
    found = [path for path in (built / MODULE, built / "deps" / MODULE) if path.is_file()]
    if not found:
        programs.fail(f"{built}: expected {MODULE}, found none. Run `cargo test --workspace --no-run`")
    return max(found, key=lambda path: path.stat().st_mtime)


def install(built: Path) -> None:
    """Puts the module where `maturin develop` would."""
    into = PACKAGE / "hayloft/_hayloft.abi3.so"
    partial = into.with_suffix(".partial")
    shutil.copyfile(newest_module(built), partial)
    partial.replace(into)


def harvest(program: Path, folder: Path) -> None:
    """Caches of several shards and row groups."""
    sites = [word for site in SITES for word in ("--site", site)]
    for dtype, codec, top in STORED:
        how = ["--dtype", dtype, "--codec", codec, "--shard-tokens", 2048, "--row-group-rows", 512]
        how += ["--logits", f"top={top}" if top else "none"]
        programs.quietly(
            program, "run", "--model", MODEL, "--data", DATA, *sites, *how, "--out", folder / f"{dtype}-{codec}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs.add_option(parser)
    parser.add_argument("--python", type=Path, metavar="PYTHON", help="an interpreter [default: makes an environment]")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="names such as tests.test_rows [default: all]")
    arguments = parser.parse_args()
    built = programs.given_or_built(arguments.programs, "--workspace", "--bins", "--lib", names=["harvest", "evaluate"])
    install(built)
    python = arguments.python or environment.make("python") / "bin/python"
    with tempfile.TemporaryDirectory(prefix="hayloft-python-") as folder:
        harvest(built / "harvest", Path(folder))
        settings = {"HAYLOFT_TEST_CACHES": folder, "HAYLOFT_PROGRAMS": str(built), "PYTHONDONTWRITEBYTECODE": "1"}
        run = [python, "-W", "error", "-W", "ignore::DeprecationWarning:multiprocessing", "-m", "unittest"]
        chosen = arguments.tests or ["discover", "--start-directory", "tests", "--top-level-directory", "."]
        done = subprocess.run([*run, *chosen], cwd=PACKAGE, env={**os.environ, **settings})
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
