"""The demo's models, the outputs of one process, and their comparison."""

from pathlib import Path

from local_cluster import PROGRAMS, ROOT, Failed, quietly

SITE = "blocks.3.hook_resid_pre"
DEMO = ROOT / "demo"


def same_files(one: Path, other: Path, leave_out: tuple[str, ...] = (".lock", "baselines")) -> int:
    """Fails unless two folders hold the same files with the same bytes; returns their number."""

    def files(folder: Path) -> dict[str, bytes]:
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        named = ((str(path.relative_to(folder)), path) for path in paths)
        return {name: path.read_bytes() for name, path in named if not set(Path(name).parts) & set(leave_out)}

    left, right = files(one), files(other)
    if left.keys() != right.keys():
        raise Failed(f"{one} and {other} hold different files: {sorted(left.keys() ^ right.keys())}")
    differing = [name for name in left if left[name] != right[name]]
    if differing:
        raise Failed(f"{one} and {other} differ in {differing}")
    return len(left)


class Demo:
    """The demo's models, and the outputs of one process."""

    def __init__(self, folder: Path, shard_tokens: int = 4096):
        self.folder, self.shard_tokens = folder, shard_tokens
        self.saes = [word for name in ("base", "chat") for word in ("--sae", DEMO / "saes" / name)]

    def plan(self, name: str) -> Path:
        out = self.folder / name
        quietly(PROGRAMS / "harvest", "plan", "--model", DEMO / "base", "--data", DEMO / "experiment/text-heldout.toml",
                "--shard-tokens", self.shard_tokens, "--out", out)
        return out

    def harvest_arguments(self, out: Path) -> list[object]:
        return ["--model", DEMO / "base", "--out", out, "--site", SITE, "--lease", 5]

    def evaluate_arguments(self, cache: Path, out: Path) -> list[object]:
        return ["--model", DEMO / "base", "--cache", cache, *self.saes, "--outlier-norm", 20, "--bootstrap=200", "--by", "subset",
                "--out", out]

    def alone(self) -> tuple[Path, Path]:
        """Cache and results, from one process each."""
        cache, results = self.plan("alone"), self.folder / "results-alone"
        quietly(PROGRAMS / "harvest", "run", *self.harvest_arguments(cache)[:-2])
        quietly(PROGRAMS / "evaluate", "run", *self.evaluate_arguments(cache, results))
        return cache, results

    def rollouts(self, name: str) -> list[object]:
        return ["--model", DEMO / "chat", "--data", DEMO / "experiment/instructions.toml", "--limit", 24, "--batch-tokens", 512,
                "--max-new-tokens", 16, "--out", self.folder / name]
