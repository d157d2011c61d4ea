"""The frame rate of a recording, found in the times of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Final

TIMESCALE: Final = 90_000
"""Ticks a second while recording."""
_MOST_TICKS: Final = 10_000_000
_ROUNDED: Final = 1
"""By how many ticks the times of a constant rate spread where each is rounded to a tick."""
_IN_MILLISECONDS: Final = TIMESCALE // 1000 + _ROUNDED
"""The same where the source counts in milliseconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When frames are shown, in a file with `timescale` ticks a second.

    Attributes:
        rate: Frames per second; the average where they vary.
        starts: When each frame starts, in ticks.
        durations: How long each frame is shown, in ticks.
    """

    rate: Fraction
    timescale: int
    starts: list[int]
    durations: list[int]


def pace_of(times: Sequence[int]) -> Pace:
    """Find the pace of frames that start at rising `times`, counted in `TIMESCALE`; there is at least one frame.

    A constant rate is restored exactly, such as 30000/1001. The last frame is shown as long as the average one.
    """
    count = len(times)
    mean = Fraction(times[-1] - times[0], count - 1) if count > 1 else Fraction(TIMESCALE, 30)
    rate = _constant_rate(times, TIMESCALE / mean) if count > 1 else None
    if rate is None:
        starts = list(times)
        durations = [later - earlier for earlier, later in pairwise(starts)] + [round(mean)]
        return Pace((TIMESCALE / mean).limit_denominator(1001), TIMESCALE, starts, durations)
    timescale = lcm(TIMESCALE, rate.numerator)
    step = int(timescale / rate)
    first = times[0] * timescale // TIMESCALE
    return Pace(rate, timescale, [first + index * step for index in range(count)], [step] * count)


def _constant_rate(times: Sequence[int], average: Fraction) -> Fraction | None:
    """The rate at which all frames follow each other; None if it varies."""
    candidates = (
        *(Fraction(round(average, -digits)) for digits in (2, 1, 0)),
        average.limit_denominator(10),
        Fraction(round(average * 1001 / 1000) * 1000, 1001),
        average.limit_denominator(1001),
    )
    spreads = {
        rate: _spread(times, rate) for rate in candidates if rate > 0 and lcm(TIMESCALE, rate.numerator) <= _MOST_TICKS
    }
    for rate, spread in spreads.items():
        if spread <= _ROUNDED:
            return rate
    rate = min(spreads, key=spreads.__getitem__, default=average)
    slow = TIMESCALE / rate >= 2 * _IN_MILLISECONDS
    return rate if slow and spreads.get(rate, _MOST_TICKS) <= _IN_MILLISECONDS else None


def _spread(times: Sequence[int], rate: Fraction) -> Fraction:
    """By how many ticks the times differ from a constant rate, from the earliest to the latest frame."""
    step, scale = TIMESCALE * rate.denominator, rate.numerator  # times `scale`, all numbers are whole
    early = late = 0
    for index, time in enumerate(times):
        error = (time - times[0]) * scale - index * step
        early, late = min(early, error), max(late, error)
    return Fraction(late - early, scale)
