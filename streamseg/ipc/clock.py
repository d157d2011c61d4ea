"""The clock of a machine. Its monotonic times may cross process borders, never machine borders."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the supervisor and the stages read time from."""

    def now_ns(self) -> int:
        """Monotonic time in nanoseconds, the same in every process of the machine."""
        ...

    def unix_ns(self) -> int:
        """Wall clock in nanoseconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The real clock."""

    def now_ns(self) -> int:
        """Monotonic time in nanoseconds."""
        return time.monotonic_ns()

    def unix_ns(self) -> int:
        """Wall clock in nanoseconds."""
        return time.time_ns()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def now_s(clock: Clock) -> float:
    """Monotonic time in seconds."""
    return clock.now_ns() / 1e9
