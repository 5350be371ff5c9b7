"""A Ray cluster on this machine with one address for each node, and ways to kill parts of it."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "scripts/checks"))
import programs  # noqa: E402

PROGRAMS = programs.target("release")
HEAD = "127.0.0.1"
PORT = 6399
NODES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
"""Loopback addresses, one for each node of the cluster."""


class Failed(Exception):
    """A check did not pass."""


def quietly(*command: object, **options) -> str:
    """Runs a command that must succeed; returns its stdout."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(word) for word in command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def ray(*command: object) -> str:
    return quietly("ray", *command, env={**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"})


class Cluster:
    """A head that runs no tasks, and nodes with one processor each."""

    def __init__(self, nodes: int = 4):
        self.nodes = NODES[:nodes]

    def start(self) -> None:
        self.start_head()
        for address in self.nodes:
            self.start_node(address)

    def start_head(self) -> None:
        ray("start", "--head", "--node-ip-address", HEAD, "--port", PORT, "--num-cpus", 0, "--include-dashboard", "false",
            "--object-store-memory", 100_000_000, "--disable-usage-stats")

    def start_node(self, address: str) -> None:
        ray("start", "--address", f"{HEAD}:{PORT}", "--node-ip-address", address, "--num-cpus", 1,
            "--object-store-memory", 100_000_000, "--disable-usage-stats")

    def stop(self) -> None:
        subprocess.run(["ray", "stop", "--force", "--grace-period", "2"], capture_output=True)


@contextmanager
def cluster(nodes: int = 4) -> Iterator[Cluster]:
    """A cluster for the duration of a `with` block."""
    found = Cluster(nodes)
    found.stop()
    found.start()
    try:
        yield found
    finally:
        found.stop()


def hayloft_ray(command: str, *words: object) -> list[str]:
    """The command line of a run on the cluster."""
    options = ("--programs", PROGRAMS, "--address", f"{HEAD}:{PORT}", "--num-cpus", 1)
    if "--" not in words:
        return [str(word) for word in ("hayloft-ray", command, *options, *words)]
    place = words.index("--")
    return [str(word) for word in ("hayloft-ray", command, *options, *words[:place], *words[place:])]


def processes(*names: str) -> list[int]:
    """Processes whose command line contains one of these, except this one and its parent."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (os.getpid(), os.getppid()):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(name in line for name in names):
                found.append(int(entry.name))
    return found


class Killer:
    """Kills something every few seconds until stopped."""

    def __init__(self, every: float, kill: Callable[[], str | None]):
        self.every, self.kill, self.killed = every, kill, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._go, daemon=True)

    def _go(self) -> None:
        while not self.over.wait(self.every):
            found = self.kill()
            if found:
                self.killed.append(found)

    def __enter__(self) -> "Killer":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.thread.join()


def kill_one(*names: str) -> str | None:
    """Kills a random process of one of these kinds."""
    kinds = list(names)
    random.shuffle(kinds)
    for name in kinds:
        found = processes(name)
        if found:
            if kill(random.choice(found)):
                return name
    return None


def kill(process: int) -> bool:
    """Kills a process; returns whether it existed."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_node(address: str) -> int:
    """Kills all processes of a node at once, like a power cut; returns their number."""
    return sum(kill(process) for process in processes(f"--node-ip-address={address}", f"--node_ip_address={address}"))
