"""A cache that takes a second to make, and the programs that make it, for the scripts that break it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts/checks"))
import programs  # noqa: E402

MODEL = ROOT / "tests" / "fixtures" / "tiny-llama"
TEXT = MODEL / "text.jsonl"
SAE = MODEL / "sae"
SITES = ["blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]
# Three shards of two or three row groups each.
CUTTING = ["--shard-tokens", "512", "--row-group-rows", "192"]
MAX_TOKENS = 1400


def say(words: str) -> None:
    """Prints progress to standard error."""
    print(words, file=sys.stderr, flush=True)


def build() -> list[Path]:
    """Builds the programs and the reader of flipped bits, with failpoints in the store."""
    # With an example, dependencies have the features of `cargo test --workspace`, and are not built again.
    words = "--quiet --workspace --bins --example flip --features hayloft-harvest/failpoints".split()
    built = programs.build(*words)
    return [built / name for name in ("harvest", "store", "evaluate", "examples/flip")]


@dataclass
class Programs:
    """Copies of the programs with failpoints, so that another build changes nothing."""

    folder: Path

    @staticmethod
    def build(scratch: Path) -> "Programs":
        folder = scratch / "programs"
        folder.mkdir()
        for program in build():
            shutil.copy2(program, folder)
        return Programs(folder)

    def start(self, program: str, *arguments: object, failpoint: str | None = None) -> subprocess.Popen:
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        environment.pop("HAYLOFT_FAILPOINT", None)
        if failpoint is not None:
            environment["HAYLOFT_FAILPOINT"] = failpoint
        words = [str(self.folder / program), *map(str, arguments)]
        return subprocess.Popen(
            words, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace"
        )

    def run(self, program: str, *arguments: object, failpoint: str | None = None) -> subprocess.CompletedProcess:
        process = self.start(program, *arguments, failpoint=failpoint)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def must(self, program: str, *arguments: object, failpoint: str | None = None) -> str:
        """Standard output of a run that must succeed."""
        done = self.run(program, *arguments, failpoint=failpoint)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(done.args)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


@dataclass
class SmallCache:
    """The recipe of the cache."""

    data: Path

    @staticmethod
    def describe(scratch: Path) -> "SmallCache":
        """Writes the data manifest."""
        data = scratch / "text.toml"
        settings = f'name = "text"\npacking = "per-document"\ncontext_length = 64\nmax_tokens = {MAX_TOKENS}\n'
        data.write_text(f'{settings}text_field = "text"\n\n[[files]]\npath = "{TEXT}"\n')
        return SmallCache(data)

    def plan(self, folder: Path) -> list[object]:
        return ["plan", "--model", MODEL, "--data", self.data, "--out", folder, *CUTTING]

    def run(self, folder: Path) -> list[object]:
        """A run that resumes any earlier one; the plan must exist."""
        sites = [option for site in SITES for option in ("--site", site)]
        return ["run", "--resume", "--threads", "1", "--logits", "top=5", "--model", MODEL, "--out", folder, *sites]


def files(folder: Path) -> dict[str, bytes]:
    """All files except the lock, by their paths relative to the folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
