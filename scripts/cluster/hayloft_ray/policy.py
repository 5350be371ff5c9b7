"""When a task is tried again, and when it is a straggler. Knows no clock of its own: times are handed in, in seconds."""

import bisect
from dataclasses import dataclass, field
from enum import Enum


class Failure(Enum):
    """How a task ended that did not end well."""

    PROGRAM = "the program said no"
    DEATH = "its worker, its node or the program itself was killed"


@dataclass(frozen=True)
class Policy:
    """How often is enough."""

    attempts: int = 3
    """Times that a program may fail in one task before the run does: what fails everywhere fails each time."""
    deaths: int = 50
    """Times that a task may be killed: machines come and go."""
    pause: float = 1.0
    """Seconds before the second attempt; twice as long before each further one."""
    longest_pause: float = 60.0
    straggler_factor: float = 3.0
    """A task is a straggler when it takes so many times the median of those that are done."""
    straggler_seconds: float = 60.0
    """No task is one before this."""
    restarts: int = 2
    """Times that a straggler is started again; what is slow everywhere is not slow for its machine."""


@dataclass
class History:
    """What has happened to a task so far."""

    failures: int = 0
    deaths: int = 0
    restarts: int = 0

    def fails(self, failure: Failure, policy: Policy) -> float | None:
        """Takes note of a failure. Seconds to wait before the next attempt, or None if there is to be none."""
        if failure is Failure.PROGRAM:
            self.failures += 1
            count, most = self.failures, policy.attempts
        else:
            self.deaths += 1
            count, most = self.deaths, policy.deaths
        if count >= most:
            return None
        return min(policy.pause * 2 ** (count - 1), policy.longest_pause)


@dataclass
class Stragglers:
    """Tells stragglers from the times of those that are done."""

    policy: Policy
    _times: list[float] = field(default_factory=list)

    MOST = 1001
    """Times that are kept: the latest."""
    FEWEST = 3
    """Before so many are done, nothing is known."""

    def done(self, seconds: float) -> None:
        """Takes note of a task that took so long."""
        if len(self._times) >= self.MOST:
            # The median of the middle half moves on slowly; one from each end goes.
            self._times = self._times[1:-1]
        bisect.insort(self._times, seconds)

    def limit(self) -> float | None:
        """Seconds after which a running task is one; None while too few are done."""
        if len(self._times) < self.FEWEST:
            return None
        median = self._times[len(self._times) // 2]
        return max(self.policy.straggler_factor * median, self.policy.straggler_seconds)

    def is_one(self, seconds: float, history: History) -> bool:
        """Whether a task that has been running for so long is one, and may be started again."""
        limit = self.limit()
        return limit is not None and seconds > limit and history.restarts < self.policy.restarts
