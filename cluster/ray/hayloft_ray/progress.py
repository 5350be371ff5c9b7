"""Progress of the whole run: one bar on a terminal, a line now and then in a log."""

import sys
import time

from tqdm import tqdm

LINE_EVERY = 10.0
"""Seconds between two lines in a log."""


def line(doing: str, unit: str, done: int, total: int, seconds: float) -> str:
    """Progress as a line of a log."""
    eta = f", ETA {seconds / done * (total - done):,.0f} s" if done and total > done else ""
    return f"{doing}: {done:,} of {total:,} {unit} in {seconds:,.0f} s{eta}"


class Progress:
    """Adds up finished and running work."""

    def __init__(self, doing: str, unit: str, quiet: bool = False):
        self.doing, self.unit, self.quiet = doing, unit, quiet
        self.work, self.total, self.shown = 0, 0, 0
        self.start = self.told = 0.0
        self.bar: tqdm | None = None

    def begin(self, total: int) -> None:
        """Starts the bar; in a file or a pipe, lines."""
        self.work, self.shown, self.total, self.start = 0, 0, total, time.monotonic()
        self.told = self.start
        self.bar = tqdm(
            total=total or None,
            desc=self.doing,
            unit=f" {self.unit}",
            unit_scale=self.unit == "tokens",
            dynamic_ncols=True,
            disable=self.quiet or not sys.stderr.isatty(),
            leave=True,
            file=sys.stderr,
        )

    def finished(self, work: int) -> None:
        """A task with this much work has ended."""
        self.work += work
        self._show(self.work)

    def running(self, done: int, tasks: int) -> None:
        """This much is done in running tasks."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"{tasks} running", refresh=False)
        self._show(self.work + done)

    def _show(self, done: int) -> None:
        if self.bar is None:
            return
        # A retried task starts again, but the bar does not go back.
        if self.bar.total:
            done = min(done, self.bar.total)
        if done > self.bar.n:
            self.bar.update(done - self.bar.n)
        self.shown = max(self.shown, done)
        now = time.monotonic()
        if self.bar.disable and now - self.told >= LINE_EVERY:
            self.told = now
            self.say(line(self.doing, self.unit, self.shown, self.total, now - self.start))

    def say(self, words: str) -> None:
        """Prints a message beside the bar."""
        if not self.quiet:
            tqdm.write(words, file=sys.stderr)

    def end(self) -> None:
        """Removes the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
