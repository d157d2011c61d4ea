"""How far a run of many steps is, and about how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Schedule:
    """Steps whose lengths are known for one machine, and from the first steps on guessed for this one."""

    def __init__(self, expected_s: Sequence[float], tell: Callable[[str], None]) -> None:
        """Begin.

        Args:
            expected_s: Of each step, on the machine that they were guessed for.
            tell: Is told of each step.
        """
        self._steps, self._tell = len(expected_s), tell
        self._left = sum(expected_s)
        self._begun = 0
        self._done = self._took = 0.0

    @contextmanager
    def step(self, label: str, expected_s: float) -> Iterator[None]:
        """Do the next step, which was expected to take so long."""
        self._begun += 1
        pace = self._took / self._done if self._done else 1.0
        minutes = max(1, round(pace * self._left / 60))
        self._tell(f"measuring {label} ({self._begun} of {self._steps}, about {minutes} min left)")
        start = time.monotonic()
        yield
        self._took += time.monotonic() - start
        self._done += expected_s
        self._left -= expected_s
