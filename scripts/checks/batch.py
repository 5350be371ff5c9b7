#!/usr/bin/env python3
"""Checks the files for Slurm and Kubernetes as far as possible without either.

Proves: Slurm's and Kubernetes' files are valid, and give the bytes of one process
Needs: batch environment (shellcheck, Kubernetes' schema), LibTorch
Takes: minutes

  scripts/check batch [--programs DIR]     built programs [default: builds them in release]

Runs shellcheck, holds the manifests against the schema of Kubernetes' API, and runs their commands as parallel local processes on the
demo's model and compares them with one process.
"""

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import environment
import programs

ROOT = Path(__file__).resolve().parents[2]
environment.enter("batch")

import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402
from programs import quietly  # noqa: E402

SLURM, KUBERNETES = ROOT / "cluster/slurm", ROOT / "cluster/kubernetes"
API = "1.32"
"""The Kubernetes version whose schema the manifests must fit."""
SITE = "blocks.3.hook_resid_pre"
INDEX_PATH = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
"""The field that holds the number of an Indexed Job's pod."""

# `sbatch` runs the script once for each number of its array, all in parallel, and waits; `srun` runs its arguments.
SBATCH = """#!/usr/bin/env bash
set -euo pipefail
array=0-0
while [[ ${1:-} == --* ]]; do
    case $1 in --array=*) array=${1#--array=} ;; esac
    shift
done
last=${array#*-}
for task in $(seq 0 "$last"); do
    SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$((last + 1)) "$@" >&2 &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
echo 1
"""
SRUN = '#!/usr/bin/env bash\nexec "$@"\n'


def same_files(one: Path, other: Path) -> int:
    """Ends the check unless two folders hold the same files; returns their number."""
    quietly("diff", "--recursive", "--exclude", ".lock", "--exclude", "baselines", one, other)
    return sum(path.is_file() for path in one.rglob("*"))


def check_shell() -> None:
    scripts = sorted(path for path in SLURM.iterdir() if path.suffix != ".md")
    quietly("shellcheck", "--shell=bash", *scripts)
    print(f"shellcheck: {len(scripts)} scripts for Slurm are clean")


def check_schema() -> None:
    manifests = {path: yaml.safe_load(path.read_text()) for path in sorted(KUBERNETES.glob("*.yaml"))}
    for path, manifest in manifests.items():
        try:
            kubernetes_validate.validate(manifest, API, strict=True)
        except kubernetes_validate.ValidationError as error:
            sys.exit(f"batch: {path}: {error.message} at {list(error.path)}")
    # Show that the check can fail.
    wrong = copy.deepcopy(next(iter(manifests.values())))
    wrong["spec"]["completionz"] = 4
    try:
        kubernetes_validate.validate(wrong, API, strict=True)
        sys.exit("batch: a misspelt key was not refused")
    except kubernetes_validate.ValidationError:
        pass
    print(f"schema: {len(manifests)} manifests fit Kubernetes {API}'s, and a misspelt key is refused")


class Demo:
    """The demo's model, and the outputs of one process."""

    def __init__(self, built: Path, folder: Path):
        self.folder = folder
        self.model, self.sae = ROOT / "demo/base", ROOT / "demo/saes/base"
        self.data = ROOT / "demo/experiment/text-heldout.toml"
        self.environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "PATH": f"{built}:{folder}/bin:{os.environ['PATH']}"}
        (folder / "bin").mkdir()
        for name, text in (("sbatch", SBATCH), ("srun", SRUN)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.cache = self.plan("alone")
        self.run(["harvest", "run", "--model", self.model, "--out", self.cache, "--site", SITE])
        self.results = folder / "results"
        self.run(["evaluate", "run", "--model", self.model, "--cache", self.cache, "--sae", self.sae, "--out", self.results])

    def run(self, command: list, **more) -> None:
        quietly(*command, env={**self.environment, **{name: str(value) for name, value in more.items()}})

    def plan(self, name: str) -> Path:
        out = self.folder / name
        self.run(["harvest", "plan", "--model", self.model, "--data", self.data, "--shard-tokens", 8192, "--out", out])
        return out


def check_slurm(demo: Demo) -> None:
    cache, out = demo.plan("slurm"), demo.folder / "slurm-results"
    settings = {"MODEL": demo.model, "CACHE": cache, "SITES": SITE, "DEVICE": "cpu"}
    demo.run(["sbatch", "--array=0-2", SLURM / "harvest.sbatch"], **settings)
    files = same_files(demo.cache, cache)
    settings = {"MODEL": demo.model, "CACHE": cache, "SAES": demo.sae, "OUT": out, "PARTS": 3, "DEVICE": "cpu"}
    demo.run([SLURM / "evaluate-all"], **settings)
    figures = same_files(demo.results, out)
    rollouts = {"MODEL": ROOT / "demo/chat", "DATA": ROOT / "demo/experiment/instructions.toml", "PARTS": 2, "DEVICE": "cpu"}
    options = ["--limit", 8, "--max-new-tokens", 8, "--batch-tokens", 256]
    demo.run([SLURM / "rollouts-all", *options], OUT=demo.folder / "shared.parquet", **rollouts)
    demo.run(["harvest", "rollouts", "--model", ROOT / "demo/chat", "--data", ROOT / "demo/experiment/instructions.toml",
              "--out", demo.folder / "alone.parquet", *options])
    quietly("cmp", demo.folder / "shared.parquet", demo.folder / "alone.parquet")
    print(f"slurm: arrays of 3 processes; {files} files of the cache, {figures} of the results and the rollouts are one process's")


def check_kubernetes(demo: Demo) -> None:
    farm = demo.folder / "farm"
    for name, target in (("models/mistral-7b", demo.model), ("saes/base", demo.sae), ("saes/chat", demo.sae)):
        (farm / name).parent.mkdir(parents=True, exist_ok=True)
        (farm / name).symlink_to(target)
    (farm / "data").mkdir()
    (farm / "data/pile.toml").write_text(
        demo.data.read_text().replace("../text", str(ROOT / "demo/text")).replace("max_tokens = 65536", "max_tokens = 32768")
    )
    for name in ("plan", "harvest", "evaluate-baselines", "evaluate-parts", "evaluate-merge"):
        # Several shards, for the pods to share.
        more = ["--shard-tokens=4096"] if name == "plan" else []
        pods = run_job(demo, KUBERNETES / f"{name}.yaml", farm, more)
        for pod in pods:
            _, said = pod.communicate()
            if pod.returncode != 0:
                sys.exit(f"batch: {name}.yaml: {said}")
    alone = demo.folder / "farm-alone"
    demo.run(["harvest", "run", "--model", demo.model, "--data", farm / "data/pile.toml", "--shard-tokens", 4096, "--out", alone,
              "--site", SITE])
    files = same_files(alone, farm / "caches/pile")
    saes = [word for name in ("base", "chat") for word in ("--sae", farm / "saes" / name)]
    results = demo.folder / "farm-results"
    demo.run(["evaluate", "run", "--model", farm / "models/mistral-7b", "--cache", alone, *saes, "--out", results])
    figures = same_files(results, farm / "results/pile")
    print(f"kubernetes: the commands of 5 manifests, 4 pods at a time where indexed; {files} files of the cache and {figures} of the "
          "results are one process's")


def run_job(demo: Demo, path: Path, farm: Path, more: list[str]) -> list[subprocess.Popen]:
    """Starts the pods of a job as processes: its command, with the environment that Kubernetes sets."""
    spec = yaml.safe_load(path.read_text())["spec"]
    container = spec["template"]["spec"]["containers"][0]
    pods = []
    for index in range(spec.get("completions", 1)):
        values = {"JOB_COMPLETION_INDEX": str(index)}
        for one in container.get("env", []):
            path = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            if path not in (None, INDEX_PATH):
                sys.exit(f"batch: {path}: expected {INDEX_PATH} or no field")
            values[one["name"]] = one["value"] if path is None else str(index)
        words = [*container["command"], *container["args"], *more]
        for name, value in values.items():
            words = [word.replace(f"$({name})", value) for word in words]
        words = [word.replace("/farm", str(farm)).replace("=cuda", "=cpu").replace("blocks.16.", "blocks.3.") for word in words]
        pods.append(subprocess.Popen(words, env={**demo.environment, **values}, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE, text=True))
    return pods


def main() -> None:
    built = programs.asked(__doc__, "--release")
    environment.put_on_path("batch")
    check_shell()
    check_schema()
    with tempfile.TemporaryDirectory(prefix="hayloft-batch-") as folder:
        demo = Demo(built, Path(folder))
        check_slurm(demo)
        check_kubernetes(demo)


if __name__ == "__main__":
    main()
