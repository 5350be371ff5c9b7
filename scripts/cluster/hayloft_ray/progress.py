"""How far the whole run is: one bar on a terminal, a line now and then in a log."""

import sys

from tqdm import tqdm


class Progress:
    """Adds up what is finished and what is under way."""

    def __init__(self, doing: str, unit: str, quiet: bool = False):
        self.doing, self.unit, self.quiet = doing, unit, quiet
        self.work = 0
        self.bar: tqdm | None = None

    def begin(self, total: int) -> None:
        """Starts the bar. On a file or a pipe it is a line every ten seconds."""
        is_terminal = sys.stderr.isatty()
        self.work = 0
        self.bar = tqdm(
            total=total or None,
            desc=self.doing,
            unit=f" {self.unit}",
            unit_scale=self.unit == "tokens",
            mininterval=0.2 if is_terminal else 10,
            maxinterval=0.2 if is_terminal else 10,
            dynamic_ncols=True,
            disable=self.quiet,
            leave=True,
            file=sys.stderr,
        )

    def finished(self, work: int) -> None:
        """A task of so much work has ended."""
        self.work += work
        self._show(self.work)

    def running(self, done: int, tasks: int) -> None:
        """So much is done in tasks that run."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"{tasks} running", refresh=False)
        self._show(self.work + done)

    def _show(self, done: int) -> None:
        if self.bar is None:
            return
        # A task that is tried again begins anew, but the bar does not go back.
        if self.bar.total:
            done = min(done, self.bar.total)
        if done > self.bar.n:
            self.bar.update(done - self.bar.n)

    def say(self, words: str) -> None:
        """A line for people, beside the bar."""
        if not self.quiet:
            tqdm.write(words, file=sys.stderr)

    def end(self) -> None:
        """Takes the bar off."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
