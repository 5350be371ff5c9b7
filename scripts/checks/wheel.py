#!/usr/bin/env python3
"""Installs the wheel into a new environment and runs README's commands and the notebook with it.

Proves: the wheel alone, without Rust, gives README's table, and the notebook runs
Needs: Rust for the wheel; Python 3.10 or later; 8 GB of disk
Takes: 10 minutes

  scripts/check wheel [--programs DIR] [--demo DIR]

Builds the wheel, installs it with its extra [torch] into a temporary environment whose PATH has no Rust, and prints sizes
and times. Passes if `harvest plan`, `harvest run` and `evaluate run` print README's lines. With --demo, the folder
target/demo of `scripts/demo`, it installs sae-lens and matplotlib too and runs docs/python/quickstart.ipynb.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import programs

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs/python/quickstart.ipynb"
PINNED = ROOT / "scripts/checks/requirements/trainers.txt"
LIBRARIES = ("ipykernel", "matplotlib", "nbclient", "pandas", "pyarrow", "sae-lens")
"""What the notebook needs, of the versions that are pinned."""
RUN = """
import sys, nbclient, nbformat
page = nbformat.read(sys.argv[1], as_version=4)
first = next(cell for cell in page.cells if cell.cell_type == "code")
first.source = first.source.replace('Path("../..").resolve()', f"Path({sys.argv[2]!r})")
first.source = first.source.replace('root / "target/demo"', f"Path({sys.argv[3]!r})")
page.cells.append(nbformat.v4.new_code_cell("print(frame.to_string())"))
nbclient.NotebookClient(page, timeout=3000, kernel_name="python3").execute()
print(page.cells[-1].outputs[-1].text)
"""


class Environment:
    """A new environment, with nothing on its PATH but itself and the system."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
        self.variables = {**kept, **{name: value for name, value in os.environ.items() if name.startswith("PIP_")}}
        self.variables["PATH"] = f"{self.bin}:/usr/bin:/bin"

    def run(self, name: str, *arguments: object) -> str:
        done = subprocess.run(
            [self.bin / name, *map(str, arguments)], cwd=ROOT, env=self.variables, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            programs.fail(f"{name} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def timed(self, what: str, name: str, *arguments: object) -> str:
        start = time.monotonic()
        printed = self.run(name, *arguments)
        print(f"{what}: {time.monotonic() - start:.0f} s", flush=True)
        return printed


def megabytes(folder: Path) -> int:
    return round(sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


def readme() -> "tuple[str, list[str], list[str]]":
    """The manifest, the commands and the lines of figures of README."""
    text = (ROOT / "README.md").read_text()
    manifest = re.search(r"```toml\n(.*?)```", text, re.S)[1]
    commands = re.search(r"```sh\n(harvest plan.*?)```", text, re.S)[1].strip().splitlines()
    lines = [line for line in text.splitlines() if re.match(r" (base|chat) +\d", line)]
    return manifest, commands, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, metavar="DIR", help="programs that are built already")
    parser.add_argument("--demo", type=Path, metavar="DIR", help="target/demo of scripts/demo, for the notebook")
    arguments = parser.parse_args()
    given = ["--programs", arguments.programs] if arguments.programs else []
    wheel = Path(programs.quietly(ROOT / "scripts/wheel", *given).strip().splitlines()[-1])
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory(prefix="hayloft-wheel-") as place:
        folder = Path(place)
        new = Environment(folder / "environment")
        new.timed("pip install of the wheel with [torch]", "pip", "install", "--quiet", f"{wheel}[torch]")
        print(f"the environment: {megabytes(folder / 'environment')} MB")
        manifest, commands, lines = readme()
        manifest = manifest.replace("demo/text", str(ROOT / "demo/text"))
        (folder / "heldout.toml").write_text(manifest)
        for command in commands:
            words = command.replace("heldout.toml", f"{folder}/heldout.toml").replace(" cache", f" {folder}/cache").split()
            printed = new.timed(command, *words)
        missing = [line for line in lines if line.rstrip() not in printed]
        if not lines or missing:
            programs.fail(f"README's lines are not printed: {missing}\n{printed}")
        print("\n".join(lines))
        if arguments.demo:
            pinned = [line for line in PINNED.read_text().split() if line.split("==")[0] in LIBRARIES]
            new.timed("pip install of sae-lens and others", "pip", "install", "--quiet", *pinned)
            (folder / "run.py").write_text(RUN)
            demo = arguments.demo.resolve()
            print(new.timed("the notebook", "python", folder / "run.py", NOTEBOOK, ROOT, demo))


if __name__ == "__main__":
    main()
