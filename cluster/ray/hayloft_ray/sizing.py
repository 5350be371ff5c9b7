"""Estimates a run's cost from the plan and a measured sample. Without a given price there are no dollars."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hayloft_ray import arguments as given
from hayloft_ray.harvest import Plan, is_location
from hayloft_ray.programs import Programs
from hayloft_ray.tasks import Task

TERABYTE = 1e12


@dataclass(frozen=True)
class Prices:
    """Prices, if known."""

    dollars_per_hour: float | None = None
    """Of one worker."""
    dollars_per_terabyte_month: float | None = None


@dataclass(frozen=True)
class Size:
    """The estimate of a harvest."""

    tokens: int
    shards: int
    sample_tokens: int
    tokens_per_second: float
    bytes_per_token: float
    workers: int
    bytes: float
    hours: float
    """With all workers, without loading the model."""
    worker_hours: float
    dollars: float | None
    dollars_per_month: float | None

    def json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def words(self) -> str:
        """The estimate as a small table."""
        rows = [
            ("tokens", f"{self.tokens:,} in {self.shards:,} shards"),
            ("measured", f"{self.tokens_per_second:,.0f} tokens/s a worker, {self.bytes_per_token:,.1f} bytes/token"
             f" (on {self.sample_tokens:,} tokens)"),
            ("bytes", in_bytes(self.bytes)),
            ("time", f"{in_time(self.hours)} on {self.workers} workers, {in_time(self.worker_hours)} of one"),
        ]
        if self.dollars is not None:
            rows.append(("compute", f"${self.dollars:,.2f}"))
        if self.dollars_per_month is not None:
            rows.append(("storage", f"${self.dollars_per_month:,.2f} a month"))
        return "\n".join(f"{name:<9}{text}" for name, text in rows)


def in_time(hours: float) -> str:
    """Hours as text."""
    seconds = 3600 * hours
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"


def in_bytes(count: float) -> str:
    """Bytes as text."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} PB"


def size(plan: Plan, summary: dict, workers: int, prices: Prices) -> Size:
    """The estimate of the whole, from the summary that `harvest run --json` printed of a sample."""
    rate, bytes_per_token = summary["tokens_per_second"], summary["bytes_per_token"]
    worker_hours = plan.total / rate / 3600 if rate else 0.0
    stored = plan.total * bytes_per_token
    hourly, monthly = prices.dollars_per_hour, prices.dollars_per_terabyte_month
    return Size(
        tokens=plan.total,
        shards=plan.shards,
        sample_tokens=summary["tokens"],
        tokens_per_second=rate,
        bytes_per_token=bytes_per_token,
        workers=workers,
        bytes=stored,
        hours=worker_hours / workers,
        worker_hours=worker_hours,
        dollars=None if hourly is None else worker_hours * hourly,
        dollars_per_month=None if monthly is None else stored / TERABYTE * monthly,
    )


class Sample:
    """The middle shard of a plan, in a separate folder, so that measuring leaves the cache unchanged."""

    def __init__(self, arguments: Sequence[str], plan: Plan, folder: str | None):
        out = given.value(arguments, "--out", "harvest run")
        if is_location(out):
            raise given.ArgumentError(f"{out}: a dry run takes the planned folder, got a location. Name the folder with --out")
        self.shard = plan.shards // 2
        self.folder = Path(tempfile.mkdtemp(prefix="hayloft-sample-", dir=folder or Path(out).resolve().parent))
        name = f"{self.shard:05}"
        shutil.copy(Path(out) / "plan.json", self.folder)
        shutil.copytree(Path(out) / "plan" / name, self.folder / "plan" / name)

    def task(self, programs: Programs, arguments: Sequence[str]) -> Task:
        """Harvests the sample."""
        plain = given.without(arguments, "--data", "--data-root", "--shard-tokens", "--row-group-rows", "--out", "--lease", "--scratch")
        command = (
            programs.harvest, "run", *plain, "--out", str(self.folder), "--resume",
            "--shards", f"{self.shard}..{self.shard + 1}", "--json",
        )
        return Task(name="harvest a sample", command=command, work=1)

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
