"""Medians and 99th percentiles: exact of a few numbers, within 1 % of any number of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_GROWTH: Final = 1.02
_LEAST: Final = 0.01
_MOST: Final = 1e7
_BINS: Final = math.ceil(math.log(_MOST / _LEAST, _GROWTH))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The median and the 99th percentile of some numbers."""

    p50: float
    p99: float


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """The exact percentiles, interpolated between neighbours; None of nothing."""
    if not values:
        return None
    p50, p99 = np.percentile(values, (50, 99))
    return Percentiles(float(p50), float(p99))


class Histogram:
    """Percentiles of numbers that are too many to keep, such as the ages of all frames of a run of days.

    Numbers are counted in 1047 bins from 0.01 to 10,000,000, each of which ends 2 % above its start. A percentile is the middle of the
    bin that holds it, and so off by 1 % at most. What is less than 0.01 counts as 0, what is more than 10,000,000 as that.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS + 1, np.int64)

    def add(self, value: float) -> None:
        """Count a number, of at least 0."""
        place = 0 if value < _LEAST else 1 + int(math.log(min(value, _MOST) / _LEAST, _GROWTH))
        self._counts[min(place, _BINS)] += 1

    def percentiles(self) -> Percentiles | None:
        """What has been counted; None where nothing was."""
        if not self._counts.any():
            return None
        return Percentiles(self._percentile(0.5), self._percentile(0.99))

    def _percentile(self, share: float) -> float:
        ranks = np.cumsum(self._counts)
        place = int(np.searchsorted(ranks, math.ceil(share * ranks[-1])))
        return 0.0 if place == 0 else _LEAST * _GROWTH ** (place - 0.5)
