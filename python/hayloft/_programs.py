"""Starts the programs of the package with the LibTorch of the environment's torch."""

import importlib.metadata
import importlib.util
import os
import stat
import sys
from pathlib import Path

TORCH = "2.13.0"
"""The version of LibTorch that the programs are linked with."""
BUILT = "HAYLOFT_PROGRAMS"
"""Names a folder with programs that find LibTorch by themselves, such as target/release, in place of the package's."""
FOLDER = Path(__file__).resolve().parent / "bin"


def harvest() -> None:
    """The program ``harvest``."""
    start("harvest")


def evaluate() -> None:
    """The program ``evaluate``."""
    start("evaluate")


def store() -> None:
    """The program ``store``, which needs no LibTorch."""
    start("store", needs_torch=False)


def start(name: str, needs_torch: bool = True) -> None:
    """Goes on as a program of the package, with this process's arguments."""
    path, environment = command(name, needs_torch)
    sys.stdout.flush()
    os.execve(path, [str(path), *sys.argv[1:]], environment)


def command(name: str, needs_torch: bool = True) -> "tuple[Path, dict[str, str]]":
    """The path of a program, and the environment that it runs in."""
    environment = dict(os.environ)
    if BUILT in environment:
        return Path(environment[BUILT]) / name, environment
    path = program(name)
    if needs_torch:
        libraries = libtorch()
        # The programs look beside the package first; torch may be in another folder of sys.path.
        if libraries != (FOLDER / "../../torch/lib").resolve():
            before = environment.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = f"{libraries}{os.pathsep}{before}" if before else str(libraries)
    return path, environment


def program(name: str) -> Path:
    """The path of a program of the package."""
    path = FOLDER / name
    if not path.is_file():
        fail(
            f"{path}: expected the program, found none: this package was built without programs."
            " Install a wheel of scripts/wheel"
        )
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def libtorch() -> Path:
    """The folder of LibTorch in the environment's torch, which is not imported."""
    advice = (
        f"Install it in this environment: pip install 'torch=={TORCH}', or 'hayloft-sae[torch]' (2.7 GB to download)"
    )
    found = importlib.util.find_spec("torch")
    if found is None or not found.submodule_search_locations:
        fail(f"expected torch {TORCH}, whose LibTorch the program uses, found none. {advice}")
    version = importlib.metadata.version("torch").split("+")[0]
    if version != TORCH:
        fail(f"expected torch {TORCH}, with whose LibTorch the program is linked, found {version}. {advice}")
    folder = Path(list(found.submodule_search_locations)[0]).resolve() / "lib"
    if not (folder / "libtorch_cpu.so").is_file():
        fail(f"{folder}: expected libtorch_cpu.so, found none. {advice}")
    return folder


def fail(message: str) -> None:
    sys.exit(f"error: {message}")
