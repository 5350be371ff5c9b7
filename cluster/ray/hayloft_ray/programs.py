"""Runs a program, reads its progress, stops it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STOPPED = "stopped as asked"
"""Start of the error of a program that was asked to stop, for instance because its node is taken away, and stopped cleanly."""

LAST_LINES = 200
"""Lines of a program's output that are kept to explain a failure."""

PATIENCE = 15.0
"""Seconds that a program has to clean up before it is killed."""

OWN_ATTEMPTS = 3
"""Attempts at a step that the driver runs itself, if it is killed. A task has more: nodes come and go."""


class ProgramError(Exception):
    """A program failed; the message is the program's."""


@dataclass(frozen=True)
class Programs:
    """The location of the programs on every node: a folder, or the PATH."""

    folder: str | None = None

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name) if self.folder else name

    @property
    def harvest(self) -> str:
        return self.path("harvest")

    @property
    def evaluate(self) -> str:
        return self.path("evaluate")

    @property
    def store(self) -> str:
        return self.path("store")


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    returncode: int
    printed: str
    said: str
    """The last lines on stderr, without progress."""

    @property
    def error(self) -> str:
        """Its last error, or how it ended."""
        errors = [line for line in self.said.splitlines() if line.startswith("error: ")]
        if errors:
            return errors[-1].removeprefix("error: ")
        if self.returncode < 0:
            return f"it was killed by signal {-self.returncode}"
        return f"it ended with {self.returncode} and no message"

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it, at once or cleanly, and not its own decision."""
        return self.returncode < 0 or self.returncode in (137, 143) or self.error.startswith(STOPPED)


def printed_by(command: Sequence[str]) -> str:
    """What a program prints that the driver runs itself. One that is killed runs again: each is whole or has done nothing. Raises
    `ProgramError` if it fails."""
    for attempt in range(1, OWN_ATTEMPTS + 1):
        outcome = run(command)
        if not outcome.was_killed or attempt == OWN_ATTEMPTS:
            break
        print(f"{os.path.basename(command[0])} {command[1]}: {outcome.error}; again", file=sys.stderr)
    if outcome.returncode != 0:
        raise ProgramError(outcome.error)
    return outcome.printed


def progress_of(line: str) -> int | None:
    """The amount done, from a line of progress; None for another line."""
    if not line.startswith('{"progress"'):
        return None
    try:
        return int(json.loads(line)["progress"]["done"])
    except (ValueError, KeyError, TypeError):
        return None


def bound_to_this_process(command: Sequence[str]) -> list[str]:
    """The command wrapped so that it is killed when this process dies in any way. `setpriv` asks the kernel for this between fork and
    exec, where Python code would run under another thread's locks."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)


def run(
    command: Sequence[str],
    stops_at_end_of_input: bool = False,
    folder: str | None = None,
    heard: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Runs a program to its end, in `folder` if this machine has it: relative paths are the driver's. When interrupted, as by
    `KeyboardInterrupt`, it stops the program first: by the end of its input, or by SIGTERM, and after PATIENCE by SIGKILL."""
    # Programs share cores, so waiting threads must sleep, not spin.
    variables = {"OMP_WAIT_POLICY": "passive", **os.environ, "HAYLOFT_PROGRESS": "json", "NO_COLOR": "1"}
    if shutil.which(command[0]) is None:
        return Outcome(127, "", f"error: {command[0]}: expected a program, got none. Name the folder of the programs with --programs")
    # Its input is never written to, and ends when this process does.
    full = list(command) if stops_at_end_of_input else bound_to_this_process(command)
    child = start(full, variables, folder if folder and os.path.isdir(folder) else None)
    said: deque[str] = deque(maxlen=LAST_LINES)
    printed: list[str] = []

    def listen() -> None:
        for line in child.stderr:
            done = progress_of(line)
            if done is None:
                said.append(line.rstrip("\n"))
            else:
                heard(done)

    threads = [threading.Thread(target=listen, daemon=True)]
    threads.append(threading.Thread(target=lambda: printed.append(child.stdout.read()), daemon=True))
    for thread in threads:
        thread.start()
    try:
        # Short waits, so that an interrupt is handled between two of them.
        while True:
            try:
                child.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                continue
    except BaseException:
        stop(child, stops_at_end_of_input)
        raise
    for thread in threads:
        thread.join(timeout=5)
    for pipe in (child.stdin, child.stdout, child.stderr):
        pipe.close()
    return Outcome(child.returncode, "".join(printed), "\n".join(said))


def start(command: Sequence[str], variables: dict[str, str], folder: str | None) -> subprocess.Popen:
    """Starts a program with pipes for its standard streams."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=variables,
        cwd=folder,
        start_new_session=True,  # so that a Ctrl-C on the driver's terminal reaches it once, from the driver
    )


def stop(child: subprocess.Popen, stops_at_end_of_input: bool) -> None:
    """Stops a program: cleanly within PATIENCE, else by SIGKILL."""
    if child.stdin:
        child.stdin.close()
    if not stops_at_end_of_input:
        child.terminate()
    try:
        child.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
