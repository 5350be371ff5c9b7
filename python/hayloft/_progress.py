"""The progress of a program: bars of tqdm where it is installed, else the program's lines on stderr."""

import json
import os
import sys

VARIABLE = "HAYLOFT_PROGRESS"
"""Makes a program tell its progress as JSON lines on stderr."""


class Progress:
    """Shows what a program writes to stderr: progress as a bar for each piece of work, everything else as it is."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = None
        self._tqdm, self._bar, self._doing = tqdm, None, None

    def environment(self, own: "dict[str, str] | None") -> "dict[str, str] | None":
        """The program's environment."""
        return own if self._tqdm is None else {**(os.environ if own is None else own), VARIABLE: "json"}

    def show(self, line: str) -> bool:
        """Shows a line. Returns whether it is a message, not progress."""
        progress = None if self._tqdm is None else progress_of(line)
        if progress is None:
            if self._bar is None:
                print(line, end="", file=sys.stderr)
            else:
                self._tqdm.write(line, file=sys.stderr, end="")
            return True
        done, total = progress["done"], progress["total"]
        if self._bar is not None and self._doing != progress["doing"]:
            self.close()
        # Work whose first line is its last is over before a bar is worth it.
        if self._bar is None and done != total:
            self._doing = progress["doing"]
            self._bar = self._tqdm(
                total=total, desc=self._doing, unit=f" {progress['unit']}", unit_scale=True, file=sys.stderr
            )
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
            if done == total:
                self.close()
        return False

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._doing = None


def progress_of(line: str) -> "dict | None":
    """The progress in a line of a program, None if it is another line."""
    try:
        progress = json.loads(line)["progress"]
        return {name: progress[name] for name in ("doing", "unit", "done", "total")}
    except (ValueError, TypeError, KeyError):
        return None
