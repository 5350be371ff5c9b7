"""When a task is retried, and when it is a straggler. Has no clock: times are arguments, in seconds."""

import bisect
from dataclasses import dataclass, field
from enum import Enum


class Failure(Enum):
    """The kinds of failure of a task."""

    PROGRAM = "the program failed"
    DEATH = "its worker, its node or the program itself was killed"


@dataclass(frozen=True)
class Policy:
    """The limits on retries."""

    attempts: int = 3
    """Failures of a program in one task before the run fails: an error that does not depend on the node recurs each time."""
    deaths: int = 50
    """Times that a task may be killed: nodes come and go."""
    pause: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    longest_pause: float = 60.0
    straggler_factor: float = 3.0
    """A task is a straggler if it takes this many times the median of the finished tasks."""
    straggler_seconds: float = 60.0
    """Seconds before which no task is a straggler."""


@dataclass
class History:
    """The history of a task so far."""

    failures: int = 0
    deaths: int = 0
    restarts: int = 0

    def fails(self, failure: Failure, policy: Policy) -> float | None:
        """Records a failure. Returns the seconds to wait before the next attempt, or None if there is none."""
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
    """Detects stragglers from the times of finished tasks."""

    policy: Policy
    _times: list[float] = field(default_factory=list)

    MOST = 1001
    """Number of times kept: the latest."""
    FEWEST = 3
    """Finished tasks before which nothing is known."""

    def done(self, seconds: float) -> None:
        """Records the time of a finished task."""
        if len(self._times) >= self.MOST:
            # Remove one from each end, so that the median of the middle half moves slowly.
            self._times = self._times[1:-1]
        bisect.insort(self._times, seconds)

    def limit(self) -> float | None:
        """Seconds after which a running task is a straggler; None while too few are finished."""
        if len(self._times) < self.FEWEST:
            return None
        median = self._times[len(self._times) // 2]
        return max(self.policy.straggler_factor * median, self.policy.straggler_seconds)

    def is_one(self, seconds: float, history: History) -> bool:
        """Whether a task that has run for so long is a straggler. Each restart doubles its limit: a task that is slow on every
        node ends, and one whose program hangs is restarted again."""
        limit = self.limit()
        return limit is not None and seconds > limit * 2**history.restarts
