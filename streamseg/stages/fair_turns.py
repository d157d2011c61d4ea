"""Whose turn it is: one model serves all sources, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_SHARES: Final = 2
"""Fair shares that a source waits at most: of four sources, each has at least every eighth turn."""


class FairTurns:
    """Chooses the source with the greatest need times age, unless another one would wait for too long.

    The turns that are due are served in the order of their deadlines, which keeps all of them, as half of the turns are
    enough for that (Liu and Layland, "Scheduling Algorithms for Multiprogramming", 1973).
    """

    def __init__(self, sources: Iterable[str]) -> None:
        """Begin with sources that have not waited yet."""
        self._waited = dict.fromkeys(sources, 0)

    def add(self, source: str) -> None:
        """Take a source that has not waited yet."""
        self._waited[source] = 0

    def remove(self, source: str) -> None:
        """Give a source no more turns."""
        del self._waited[source]

    def choose(self, needs: Mapping[str, float]) -> str | None:
        """The source that has the turn; None if none waits.

        Args:
            needs: Of each source that waits, above 0: how much more it gains by the turn than another.
        """
        ranked = sorted(needs, key=lambda name: -needs[name] * (self._waited[name] + 1))
        in_time = (name for name in ranked if self._leaves_time(name, needs))
        return next(in_time, max(needs, key=lambda name: self._waited[name], default=None))

    def served(self, chosen: str, waiting: Iterable[str]) -> None:
        """Note that a source had its turn; each other one that waits has waited a turn longer."""
        for name in waiting:
            self._waited[name] += 1
        self._waited[chosen] = 0

    def _leaves_time(self, chosen: str, waiting: Iterable[str]) -> bool:
        """Whether all others can have their turns in time, one after the other, if this one is next."""
        most = _SHARES * len(self._waited) - 1
        left = sorted(most - self._waited[name] for name in waiting if name != chosen)
        return all(turns >= place for place, turns in enumerate(left, 1))
