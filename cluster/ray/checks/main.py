"""Checks of hayloft-ray on a local cluster; see `scripts/check cluster`."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from demo import DEMO, SITE, Demo, same_files
from local_cluster import (
    HEAD,
    NODES,
    PORT,
    PROGRAMS,
    Cluster,
    Failed,
    Killer,
    cluster,
    hayloft_ray,
    kill,
    kill_node,
    kill_one,
    processes,
    quietly,
    ray,
)


def started(command: list[str]) -> subprocess.Popen:
    """A driver that runs beside the check."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(driver: subprocess.Popen, has_come: Callable[[], object]) -> None:
    """Waits for an effect of a driver, or for its end."""
    while driver.poll() is None and not has_come():
        time.sleep(0.05)


def check_same(folder: Path) -> str:
    """Harvest, rollouts and evaluation of the demo on four nodes, compared with one process."""
    demo = Demo(folder)
    cache, results = demo.alone()
    quietly(PROGRAMS / "harvest", "rollouts", *demo.rollouts("alone.parquet"))
    with cluster():
        shared = demo.plan("shared")
        quietly(*hayloft_ray("harvest", "--shards-per-task", 2, "--", *demo.harvest_arguments(shared)))
        quietly(*hayloft_ray("evaluate", "--parts", 5, "--saes-per-task", 1, "--",
                             *demo.evaluate_arguments(shared, folder / "results-shared")))
        quietly(*hayloft_ray("rollouts", "--parts", 4, "--", *demo.rollouts("shared.parquet")))
    files = same_files(cache, shared)
    figures = same_files(results, folder / "results-shared")
    if (folder / "alone.parquet").read_bytes() != (folder / "shared.parquet").read_bytes():
        raise Failed("rollouts differ")
    return f"four nodes at {', '.join(NODES)}: {files} files of the cache, {figures} of the results and the rollouts are one process's to the bit"


def check_killed(folder: Path) -> str:
    """The same with a program or a Ray worker killed every three seconds, and one whole node."""
    demo = Demo(folder)
    cache, results = demo.alone()
    with cluster() as running:
        shared = demo.plan("shared")
        own = f"{folder}"

        def kill() -> str | None:
            return kill_one(f"harvest run --model {DEMO}/base --out {own}", "ray::run_task", f"evaluate run --model {DEMO}/base --cache {own}")

        with Killer(3.0, kill) as killer:
            node: list[int] = []
            whole = threading.Timer(5.0, lambda: node.append(kill_node(NODES[3])))
            whole.start()
            command = hayloft_ray("harvest", "--attempts", 20, "--shards-per-task", 2, "--", *demo.harvest_arguments(shared))
            quietly(*command)
            quietly(*hayloft_ray("evaluate", "--attempts", 20, "--parts", 6, "--",
                                 *demo.evaluate_arguments(shared, folder / "results-shared")))
            whole.join()
        del running
    files = same_files(cache, shared)
    figures = same_files(results, folder / "results-shared")
    if len(killer.killed) < 2 or not node[0]:
        raise Failed(f"only {len(killer.killed)} kills and {node} of a node: the run was over too soon to mean anything")
    kinds = {name.split()[0]: sum(one.split()[0] == name.split()[0] for one in killer.killed) for name in killer.killed}
    return f"{len(killer.killed)} killed ({kinds}) and a whole node: {files} files of the cache and {figures} of the results are the same to the bit"


def check_drivers(folder: Path) -> str:
    """Two drivers on one cache at the same time."""
    demo = Demo(folder)
    cache, _ = demo.alone()
    with cluster():
        shared = demo.plan("shared")
        command = hayloft_ray("harvest", "--shards-per-task", 2, "--", *demo.harvest_arguments(shared))
        both = [started(command) for _ in range(2)]
        ended = [(driver.communicate(), driver.returncode) for driver in both]
    for (_, said), code in ended:
        if code != 0:
            raise Failed(said)
    return f"two drivers at a time: both end well, {same_files(cache, shared)} files are the same to the bit"


def check_stopped(folder: Path) -> str:
    """A stopped driver leaves a clean cache, and the same command continues."""
    demo = Demo(folder, shard_tokens=16384)
    cache, _ = demo.alone()
    with cluster():
        shared = demo.plan("shared")
        command = hayloft_ray("harvest", "--shards-per-task", 1, "--", *demo.harvest_arguments(shared))
        driver = started(command)
        wait_until(driver, lambda: any((shared / "claims").glob("*.0")))
        driver.send_signal(signal.SIGTERM)
        _, said = driver.communicate(timeout=90)
        unfinished = [path.name for path in (shared / "shards").glob(".*")]
        if driver.returncode != 130 or unfinished:
            raise Failed(f"expected exit code 130 and nothing unfinished, got {driver.returncode} and {unfinished}\n{said}")
        left = processes(f"harvest run --model {DEMO}/base --out {folder}")
        if left:
            raise Failed(f"{len(left)} programs are still running")
        quietly(*command)
    return f"stopped in the middle: exit code 130, nothing half-written, no program left; the same command goes on to the same {same_files(cache, shared)} files"


def check_head(folder: Path) -> str:
    """The head dies and restarts; the driver ends with an error, and the same command continues."""
    demo = Demo(folder)
    cache, _ = demo.alone()
    shared = demo.plan("shared")
    command = hayloft_ray("harvest", "--shards-per-task", 2, "--", *demo.harvest_arguments(shared))
    with cluster() as running:
        driver = started(command)
        wait_until(driver, lambda: any((shared / "shards").glob("0*")))
        others = {process for address in NODES for process in processes(f"--node-ip-address={address}")}
        killed = sum(kill(process) for process in processes("gcs_server", "/raylet ") if process not in others)
        if not killed or driver.poll() is not None:
            raise Failed(f"{killed} processes of the head were killed, and the driver had ended with {driver.poll()}")
        try:
            driver.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.communicate()
        code = driver.returncode
        running.stop()
        running.start()
        quietly(*command)
    return f"head killed ({killed} processes; the driver ended with {code}) and restarted: the same command goes on to the same {same_files(cache, shared)} files"


def check_straggler(folder: Path) -> str:
    """A program that hangs is stopped and its task restarted."""
    demo = Demo(folder)
    cache, _ = demo.alone()
    shared = demo.plan("shared")
    command = hayloft_ray("harvest", "--shards-per-task", 1, "--straggler-seconds", 8, "--straggler-factor", 2, "--",
                          *demo.harvest_arguments(shared))
    with cluster():
        driver = started(command)
        own = f"harvest run --model {DEMO}/base --out {folder}"
        wait_until(driver, lambda: len(list((shared / "shards").glob("0*"))) >= 4 and processes(own))
        os.kill(processes(own)[0], signal.SIGSTOP)
        _, said = driver.communicate(timeout=900)
    if driver.returncode != 0 or "started again elsewhere" not in said:
        raise Failed(f"the driver ended with {driver.returncode}: {said}")
    return f"a program that hangs is stopped, and its task started again: {same_files(cache, shared)} files are the same to the bit"


def check_bucket(folder: Path) -> str:
    """A cache at a location, filled from scratch folders."""
    demo = Demo(folder)
    cache, _ = demo.alone()
    there, scratch = folder / "there", folder / "scratch"
    quietly(PROGRAMS / "store", "push", demo.plan("planned"), f"file://{there}")
    words = demo.harvest_arguments(there)
    words[3] = f"file://{there}"
    with cluster():
        quietly(*hayloft_ray("harvest", "--shards-per-task", 2, "--", *words, "--scratch", scratch))
    left = list(scratch.iterdir())
    if left:
        raise Failed(f"scratch folders were left: {left}")
    return f"behind file://, by way of scratch folders: {same_files(cache, there)} files are the same to the bit"


def check_sweep(folder: Path) -> str:
    """Four fine-tunings side by side."""
    demo = Demo(folder)
    cache, _ = demo.alone()
    with cluster(2):
        words = quietly(*hayloft_ray("finetune-sweep", "--grid", "learning-rate=1e-4,5e-4", "--grid", "seed=0,1", "--",
                                     "--sae", DEMO / "saes/base", "--model", DEMO / "base", "--cache", cache, "--tokens", 16384,
                                     "--batch", 1024, "--outlier-norm", 20, "--out", folder / "sweep"))
    alone = folder / "alone-sweep"
    quietly(PROGRAMS / "evaluate", "finetune", "--sae", DEMO / "saes/base", "--model", DEMO / "base", "--cache", cache, "--tokens", 16384,
            "--batch", 1024, "--outlier-norm", 20, "--learning-rate", "5e-4", "--seed", 1, "--threads", 1, "--out", alone)
    quietly("cmp", alone / "sae_weights.safetensors", folder / "sweep/learning-rate=5e-4,seed=1/sae_weights.safetensors")
    print(words, end="")
    return "four fine-tunings: a table of them, and weights that are one process's to the bit"


def check_job(folder: Path) -> str:
    """A whole run as a Ray job."""
    demo = Demo(folder)
    cache, _ = demo.alone()
    shared = demo.plan("shared")
    Cluster().stop()
    ray("start", "--head", "--node-ip-address", HEAD, "--port", PORT, "--num-cpus", 2, "--include-dashboard", "true",
        "--dashboard-host", HEAD, "--dashboard-port", 8299, "--disable-usage-stats")
    try:
        options = ("--programs", PROGRAMS, "--num-cpus", 1, "--shards-per-task", 2, "--", *demo.harvest_arguments(shared))
        words = ("hayloft-ray", "submit", "--address", f"http://{HEAD}:8299", "--follow", "harvest", *options)
        quietly(*words)
    finally:
        Cluster().stop()
    return f"submitted through Ray Jobs and followed to its end: {same_files(cache, shared)} files are the same to the bit"


def check_misfits(folder: Path) -> str:
    """A worker with another revision of the model, and one with another version of the program."""
    demo = Demo(folder)
    shared = demo.plan("shared")
    other = folder / "other-model"
    shutil.copytree(DEMO / "base", other)
    weights = next(other.glob("*.safetensors"))
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with cluster(2):
        # The session starts with the right model.
        quietly(PROGRAMS / "harvest", "run", *demo.harvest_arguments(shared), "--share", "--shards", "0..1")
        words = demo.harvest_arguments(shared)
        words[1] = other
        failed = subprocess.run(hayloft_ray("harvest", "--attempts", 2, "--", *words), capture_output=True, text=True)
        if failed.returncode == 0 or "model.tensors differs" not in failed.stderr:
            raise Failed(f"another model was not refused: {failed.stderr}")
        session = shared / "claims/session.json"
        session.write_text(session.read_text().replace('"hayloft_version": "', '"hayloft_version": "9.'))
        failed = subprocess.run(hayloft_ray("harvest", "--attempts", 2, "--", *demo.harvest_arguments(shared)),
                                capture_output=True, text=True)
        if failed.returncode == 0 or "hayloft_version differs" not in failed.stderr:
            raise Failed(f"another version was not refused: {failed.stderr}")
    return "another revision of the model and another version of the program: both refused by name, after as many attempts as asked for"


def check_overhead(folder: Path) -> str:
    """Shards of about half a minute: a cluster of two nodes compared with one process on one core."""
    demo = Demo(folder)
    plain = [word for word in demo.harvest_arguments(folder / "x")]
    probe = demo.plan("probe")
    plain[3] = probe
    speed = json.loads(quietly(PROGRAMS / "harvest", "run", *plain[:-2], "--threads", 1, "--json"))["tokens_per_second"]
    # Enough shards to keep two workers busy for the same time.
    shards, tokens = 4, int(speed * 30)
    manifest = folder / "text.toml"
    manifest.write_text(f"max_tokens = {shards * tokens}\n" + (DEMO / "experiment/text-train.toml").read_text())
    whole, shared = folder / "whole", folder / "shared"
    quietly(PROGRAMS / "harvest", "plan", "--model", DEMO / "base", "--data", manifest, "--data-root", DEMO / "experiment",
            "--shard-tokens", tokens, "--out", whole)
    planned = json.loads(quietly(PROGRAMS / "store", "plan", whole, "--json"))["shard_tokens"]
    shutil.copytree(whole, shared)
    arguments = ["--model", DEMO / "base", "--site", SITE]
    start = time.monotonic()
    quietly(PROGRAMS / "harvest", "run", *arguments, "--out", whole, "--threads", 1)
    alone = time.monotonic() - start
    with cluster(2):
        start = time.monotonic()
        quietly(*hayloft_ray("harvest", "--shards-per-task", 1, "--", *arguments, "--out", shared))
        together = time.monotonic() - start
    same_files(whole, shared)
    shards = len(planned)
    ratio = together / (alone / 2)
    words = f"{shards} shards of {alone / shards:.1f} s: one process {alone:.1f} s, two workers {together:.1f} s, {ratio:.3f} x (one / 2)"
    if ratio > 1.1:
        raise Failed(f"{words}: expected at most 1.1")
    return words


def check_many(folder: Path) -> str:
    """Ten thousand simulated shards."""
    del folder
    with cluster(2):
        found = json.loads(quietly(*hayloft_ray("simulate", "--quiet", "--shards", 10_000)))
    memory = found["driver_megabytes_at"]
    words = f"10,000 simulated shards: {found['seconds']} s, {found['milliseconds_of_overhead_a_shard']} ms each; driver's memory {memory} MB"
    if found["seconds"] > 300 or memory["100%"] > memory["10%"] + 50:
        raise Failed(words)
    return words


def check_sizing(folder: Path) -> str:
    """A dry run measures a shard and changes nothing."""
    demo = Demo(folder)
    shared = demo.plan("shared")
    before = sorted(str(path) for path in shared.rglob("*"))
    with cluster(2):
        words = quietly(*hayloft_ray("harvest", "--dry-run", "--dollars-per-hour", "2.5", "--dollars-per-tb-month", "20", "--",
                                     *demo.harvest_arguments(shared)))
    if before != sorted(str(path) for path in shared.rglob("*")) or "on 2 workers" not in words:
        raise Failed(words)
    print(words, end="")
    return "a dry run measures one shard and changes nothing"


CHECKS = {
    "same": check_same,
    "killed": check_killed,
    "drivers": check_drivers,
    "stopped": check_stopped,
    "head": check_head,
    "straggler": check_straggler,
    "bucket": check_bucket,
    "sweep": check_sweep,
    "job": check_job,
    "misfits": check_misfits,
    "sizing": check_sizing,
    "many": check_many,
    "overhead": check_overhead,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"checks [default: all]: {', '.join(CHECKS)}")
    parser.add_argument("--list", action="store_true", help="list the checks")
    asked = parser.parse_args()
    if asked.list:
        for name, check in CHECKS.items():
            print(f"{name:<10}{check.__doc__}")
        return 0
    unknown = [name for name in asked.names if name not in CHECKS]
    if unknown:
        parser.error(f"expected some of {', '.join(CHECKS)}, got {', '.join(unknown)}")
    failures = 0
    for name in asked.names or CHECKS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="hayloft-cluster-", ignore_cleanup_errors=True) as folder:
            try:
                print(f"{name}: {CHECKS[name](Path(folder))} ({time.monotonic() - start:.0f} s)", flush=True)
            except (Failed, subprocess.TimeoutExpired) as failure:
                failures += 1
                print(f"{name}: FAILED: {failure}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
