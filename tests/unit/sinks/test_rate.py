from __future__ import annotations

import random
from fractions import Fraction

import pytest

from streamseg.sinks.rate import TIMESCALE, pace_of


def ticks(rate: Fraction, count: int, unit: Fraction = Fraction(1, TIMESCALE), first: int = 0) -> list[int]:
    """The times of a constant rate in a file that counts in `unit`."""
    return [first + round(round(number / rate / unit) * unit * TIMESCALE) for number in range(count)]


RATES = [
    Fraction(1, 10), Fraction(1, 3), Fraction(1), Fraction(25, 2), Fraction(15), Fraction(24_000, 1001), Fraction(24),
    Fraction(25), Fraction(30_000, 1001), Fraction(30), Fraction(50), Fraction(60_000, 1001), Fraction(60),
    Fraction(120_000, 1001), Fraction(120), Fraction(240), Fraction(1000), Fraction(1200), Fraction(2400),
]  # fmt: skip


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("count", [3, 40, 3000])
def test_a_constant_rate_is_found_exactly(rate: Fraction, count: int) -> None:
    pace = pace_of(ticks(rate, count))
    assert pace.rate == rate
    assert set(pace.durations) == {pace.timescale / rate}
    assert pace.starts == [number * pace.timescale / rate for number in range(count)]


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate <= 240])
def test_a_constant_rate_is_found_in_times_of_whole_milliseconds(rate: Fraction) -> None:
    assert pace_of(ticks(rate, 600, Fraction(1, 1000))).rate == rate


def test_a_recording_that_starts_later_keeps_its_start() -> None:
    pace = pace_of(ticks(Fraction(24_000, 1001), 100, first=12_345))
    assert Fraction(pace.starts[0], pace.timescale) == Fraction(12_345, TIMESCALE)


def test_times_that_vary_are_kept() -> None:
    chance = random.Random(0)
    times = [number * 3000 + chance.randrange(600) for number in range(200)]
    pace = pace_of(times)
    assert (pace.timescale, pace.starts) == (TIMESCALE, times)
    assert pace.durations[:2] == [times[1] - times[0], times[2] - times[1]]
    assert pace.durations[-1] == pytest.approx(3000, abs=10)
    assert float(pace.rate) == pytest.approx(30, abs=0.1)


def test_a_missing_frame_is_a_longer_one() -> None:
    pace = pace_of([0, 3000, 9000, 12_000])
    assert pace.durations == [3000, 6000, 3000, 4000]


def test_one_frame_is_shown_for_a_moment() -> None:
    assert pace_of([500]).durations == [3000]
