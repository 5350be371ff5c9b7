"""A harvest, ways to interrupt it, and the comparison with an uninterrupted one."""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from small_cache import SITES, Programs, SmallCache, files, say

KILLED = -9
# Names of boundaries that wait for the disk, and of those that can be half done.
SYNCS = ("sync", "sync-folder")
DIVISIBLE = ("write", "remove-folder")


@dataclass
class Scenario:
    """A command, and the folder that it starts from."""

    name: str
    command: object  # from a cache's folder to the command's words
    start: Path | None  # copied for each trial; None for no folder
    expected: dict[str, bytes]
    boundaries: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def numbers(self, *operations: str) -> list[int]:
        """1, 2 and so on, one for each boundary of these operations; for every boundary if none is named."""
        count = sum(not operations or boundary.split("\t")[0] in operations for boundary in self.boundaries)
        return list(range(1, count + 1))


class Trial:
    """The uninterrupted harvest, its expected bytes, and the counts."""

    def __init__(self, scratch: Path, programs: Programs) -> None:
        self.scratch, self.programs = scratch, programs
        self.cache = SmallCache.describe(scratch)
        self.lock = threading.Lock()
        self.faults: list[str] = []
        self.counts = {"kills": 0, "moments": 0, "failures": 0, "reads": 0, "half": 0}
        self.killed_at: set[str] = set()
        self.folders = 0

        planned, whole = scratch / "planned", scratch / "whole"
        programs.must("harvest", *self.cache.plan(planned))
        shutil.copytree(planned, whole)
        programs.must("harvest", *self.cache.run(whole))
        self.files = files(whole)
        if len(list((whole / "shards").iterdir())) < 3:
            sys.exit("error: expected a harvest of at least 3 shards, got fewer")
        plan = self.scenario("plan", self.cache.plan, None, files(planned))
        self.run = self.scenario("run", self.cache.run, planned, self.files)
        # The leftovers of a killed planning; and a harvest killed within its second shard, with damage to its first.
        unplanned = self.killed_within(plan, "plan/.00001.partial")
        untidy = self.killed_within(self.run, "shards/.00001.partial")
        (untidy / "shards" / "00000" / f"{SITES[0]}.parquet").write_bytes(b"cut short")
        (untidy / "manifest.json").unlink(missing_ok=True)
        again = self.scenario("plan after a kill", self.cache.plan, unplanned, plan.expected)
        resume = self.scenario("resume", self.cache.run, untidy, self.files)
        share = self.scenario("share", lambda folder: [*self.cache.run(folder), "--share"], planned, self.files)
        self.scenarios = [plan, self.run, again, resume, share]
        for scenario in (again, resume):
            if not any(boundary.startswith("remove-folder\t") for boundary in scenario.boundaries):
                sys.exit(f"error: expected {scenario.name} to remove leftovers, it removed none")

    def scenario(self, name: str, command: object, start: Path | None, expected: dict[str, bytes]) -> Scenario:
        """A scenario, with the boundaries of an uninterrupted run, by paths relative to the folder."""
        scenario = Scenario(name, command, start, expected)
        folder, listed = self.folder(scenario), self.scratch / "boundaries"
        started = time.monotonic()
        self.programs.must("harvest", *command(folder), failpoint=f"list:{listed}")
        scenario.seconds = time.monotonic() - started
        scenario.boundaries = [relative(line, folder) for line in listed.read_text().splitlines()]
        self.compare(folder, scenario, f"{name}, undisturbed")
        return scenario

    def killed_within(self, scenario: Scenario, unfinished: str) -> Path:
        """The folder after a kill while the tokens of an unfinished folder are written; the folder before it is whole."""
        folder, done = self.disturbed(scenario, f"kill@create {unfinished}/tokens.parquet")
        before = folder / Path(unfinished).parent / "00000"
        if done.returncode != KILLED or not (folder / unfinished).is_dir() or not before.is_dir():
            sys.exit(f"error: {scenario.name} could not be killed within {unfinished}")
        return folder

    def folder(self, scenario: Scenario) -> Path:
        """A new copy of the folder that the command starts from."""
        with self.lock:
            self.folders += 1
            folder = self.scratch / f"cache-{self.folders}"
        if scenario.start is not None:
            shutil.copytree(scenario.start, folder)
        return folder

    def fault(self, what: str) -> None:
        with self.lock:
            self.faults.append(what)
        say(f"WRONG: {what}")

    def count(self, key: str, killed_at: str | None = None) -> None:
        with self.lock:
            self.counts[key] += 1
            if killed_at is not None:
                self.killed_at.add(killed_at)

    def check_visible(self, folder: Path, scenario: Scenario, what: str) -> None:
        """Checks the folder after a kill: a reader sees whole files only."""
        found = files(folder) if folder.is_dir() else {}
        before = files(scenario.start) if scenario.start is not None else {}
        half = []
        for name, content in found.items():
            # Claims are for the processes that fill the cache; readers ignore them.
            parts = Path(name).parts
            if any(part.startswith(".") for part in parts) or name == "manifest.json" or parts[0] == "claims":
                continue
            if content not in (self.files.get(name), before.get(name)):
                half.append(name)
        for name in self.files:
            parent = Path(name).parent
            if str(parent) != "." and (folder / parent).is_dir() and name not in found:
                half.append(name)
        if "manifest.json" in found:
            verified = self.programs.run("store", "verify", folder)
            if verified.returncode != 0:
                half.append(f"manifest.json ({verified.stdout.strip()} {verified.stderr.strip()})")
        for name in half:
            self.count("half")
            self.fault(f"{what}: {name} is half-written and visible")

    def check_resumes(self, folder: Path, scenario: Scenario, what: str) -> None:
        """Runs the command again, which must end with the bytes of the uninterrupted harvest."""
        planned = (folder / "plan.json").exists()
        done = self.programs.run("harvest", *scenario.command(folder))
        # A plan that was whole when its writer was killed stays, and is not made again.
        if done.returncode != 0 and not (scenario.command == self.cache.plan and planned):
            self.fault(f"{what}: the run after it ended with {done.returncode}: {done.stderr.strip()}")
        self.compare(folder, scenario, what)

    def compare(self, folder: Path, scenario: Scenario, what: str) -> None:
        """Compares all bytes with the expected ones, and removes the folder."""
        found, expected = files(folder), scenario.expected
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if differing:
            self.fault(f"{what}: after resuming these differ: {', '.join(differing)}")
        shutil.rmtree(folder)

    def disturbed(self, scenario: Scenario, failpoint: str) -> tuple[Path, subprocess.CompletedProcess]:
        folder = self.folder(scenario)
        return folder, self.programs.run("harvest", *scenario.command(folder), failpoint=failpoint)

    def kill_at(self, job: tuple[Scenario, str, int]) -> None:
        """Kills at a boundary, checks, resumes, compares."""
        scenario, fault, number = job
        what = f"{scenario.name}, {fault}:{number}"
        folder, done = self.disturbed(scenario, f"{fault}:{number}")
        if done.returncode != KILLED:
            return self.fault(f"{what}: expected it to be killed, it ended with {done.returncode}: {done.stderr.strip()}")
        last = next((line for line in done.stderr.splitlines() if line.startswith("killed before\t")), "")
        self.count("kills", relative(last.removeprefix("killed before\t"), folder))
        self.check_visible(folder, scenario, what)
        self.check_resumes(folder, scenario, what)

    def fail_at(self, job: tuple[Scenario, str, int]) -> None:
        """Breaks the disk from a boundary on, expects an error message, checks, resumes, compares."""
        scenario, fault, number = job
        what = f"{scenario.name}, {fault}:{number}"
        folder, done = self.disturbed(scenario, f"{fault}:{number}")
        words = {"full": "disk is full", "read-only": "ead-only file", "broken-sync": "to the disk"}[fault]
        # The last boundary is a sync, which succeeds on a full or read-only disk.
        harmless = fault != "broken-sync" and number == len(scenario.boundaries) and done.returncode == 0
        if not harmless and (done.returncode != 1 or words not in done.stderr):
            self.fault(f"{what}: expected exit code 1 and an error message, got {done.returncode}: {done.stderr.strip()}")
        self.count("failures")
        self.check_visible(folder, scenario, what)
        self.check_resumes(folder, scenario, what)

    def kill_after(self, seconds: float) -> None:
        """Kills after a time."""
        what = f"killed after {seconds * 1000:.0f} ms"
        folder = self.folder(self.run)
        process = self.programs.start("harvest", *self.run.command(folder))
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        self.count("moments")
        self.check_visible(folder, self.run, what)
        self.check_resumes(folder, self.run, what)

    def read_while_written(self, harvests: int) -> None:
        """Polls a cache while it is being written."""
        for _ in range(harvests):
            folder = self.folder(self.run)
            process = self.programs.start("harvest", *self.run.command(folder))
            while process.poll() is None:
                for command in ("verify", "inspect"):
                    read = self.programs.run("store", command, folder)
                    if read.returncode != 0 and "expected manifest.json, got none" not in read.stderr:
                        self.count("half")
                        self.fault(f"store {command} while it is written: {read.stdout} {read.stderr}")
                    self.count("reads")
            process.communicate()
            self.compare(folder, self.run, "while it was read")

    def real_disks(self) -> None:
        """A full disk and a read-only one, made from a small file system in memory."""
        disk = self.scratch / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, text=True)
        if mounted.returncode != 0:
            sys.exit(f"error: expected a small file system at {disk} for --real-disks, mount said: {mounted.stderr.strip()}")
        try:
            folder = disk / "cache"
            command = self.run.command(folder)
            size = sum(map(len, self.files.values()))
            for share in (0.0, 0.3, 0.6, 0.9):
                shutil.copytree(self.run.start, folder)
                used = os.statvfs(disk)
                used_bytes = (used.f_blocks - used.f_bfree) * used.f_frsize
                remount(disk, f"size={used_bytes + int(share * size) + 4096}")
                done = self.programs.run("harvest", *command)
                what = f"a real disk with room for {share:.0%} of the cache"
                if done.returncode != 1 or "disk is full" not in done.stderr:
                    self.fault(f"{what}: expected it to be full, got {done.returncode}: {done.stderr.strip()}")
                self.count("failures")
                remount(disk, "size=64m")
                self.check_visible(folder, self.run, what)
                self.check_resumes(folder, self.run, what)
            shutil.copytree(self.run.start, folder)
            remount(disk, "ro")
            done = self.programs.run("harvest", *command)
            if done.returncode != 1 or "ead-only file system" not in done.stderr:
                self.fault(f"a real read-only disk: expected it to be refused, got {done.returncode}: {done.stderr.strip()}")
            self.count("failures")
            remount(disk, "rw")
            self.check_visible(folder, self.run, "a real read-only disk")
            self.check_resumes(folder, self.run, "a real read-only disk")
        finally:
            subprocess.run(["umount", disk], check=False)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def relative(boundary: str, folder: Path) -> str:
    """A boundary, with paths relative to the cache's folder."""
    return boundary.replace(f"{folder}/", "").replace(str(folder), ".").replace(f"{folder.parent}", "..")
