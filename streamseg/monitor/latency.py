"""Percentiles of ages and durations: exact for a few values, within 1 % for any number of them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_LEAST: Final = 0.01
_GROWTH: Final = 1.02
"""Each bin of a histogram ends 2 % above its start, so the middle of a bin is off by at most 1 %."""
_BIN_ENDS: Final[list[float]] = (_LEAST * _GROWTH ** np.arange(1048)).tolist()


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The median and the 99th percentile of some values."""

    p50: float
    p99: float


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Exact percentiles, interpolated between neighbours; None without values."""
    if not values:
        return None
    p50, p99 = np.percentile(values, (50, 99))
    return Percentiles(float(p50), float(p99))


class Histogram:
    """Counts values in bins, in constant memory: the ages of all frames of a run of days.

    The bins cover 0.01 to 10,000,000. A smaller value counts as 0, a larger one as 10,000,000.

    Args:
        bounds: Values that also end a bin, so that `cumulative` is exact there.

    Attributes:
        total: Sum of all values.
    """

    def __init__(self, bounds: Sequence[float] = ()) -> None:
        self._bounds = bounds
        self._ends = sorted({*_BIN_ENDS, *bounds})
        self._counts = np.zeros(len(self._ends) + 1, np.int64)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value of at least 0."""
        self._counts[bisect.bisect_left(self._ends, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self._counts.sum())

    def cumulative(self) -> list[int]:
        """For each bound, the number of values up to and including it."""
        counts = np.cumsum(self._counts)
        return [int(counts[bisect.bisect_left(self._ends, bound)]) for bound in self._bounds]

    def percentiles(self) -> Percentiles | None:
        """The percentiles of all values, each off by 1 % at most; None without values."""
        if not self._counts.any():
            return None
        return Percentiles(self._percentile(0.5), self._percentile(0.99))

    def _percentile(self, share: float) -> float:
        counts = np.cumsum(self._counts)
        place = int(np.searchsorted(counts, np.ceil(share * counts[-1])))
        if self._ends[min(place, len(self._ends) - 1)] <= _LEAST:
            return 0.0
        if place == len(self._ends):
            return self._ends[-1]
        return float(np.sqrt(self._ends[place - 1] * self._ends[place]))
