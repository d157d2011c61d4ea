from __future__ import annotations

import numpy as np
import pytest

from streamseg.monitor.latency import Histogram, Percentiles, percentiles


def test_a_few_values_are_exact() -> None:
    assert percentiles([]) is None
    assert percentiles([4.0]) == Percentiles(4.0, 4.0)
    assert percentiles([float(number) for number in range(101)]) == Percentiles(50.0, 99.0)


@pytest.mark.parametrize("scale", [0.02, 30.0, 5e4])
def test_many_values_are_within_one_per_cent(scale: float) -> None:
    numbers = np.random.default_rng(1).lognormal(np.log(scale), 1.0, 20_000)
    histogram = Histogram()
    for number in numbers:
        histogram.add(float(number))
    found = histogram.percentiles()
    assert found is not None
    for value, share in ((found.p50, 0.5), (found.p99, 0.99)):
        assert value == pytest.approx(np.quantile(numbers, share, method="inverted_cdf"), rel=0.01)


def test_a_percentile_is_of_the_right_rank() -> None:
    histogram = Histogram()
    assert histogram.percentiles() is None
    for _ in range(99):
        histogram.add(0.0)
    histogram.add(500.0)
    assert histogram.percentiles() == Percentiles(0.0, 0.0)
    histogram.add(500.0)
    found = histogram.percentiles()
    assert found is not None
    assert found.p50 == 0
    assert found.p99 == pytest.approx(500.0, rel=0.01)


def test_a_value_beyond_the_bins_counts_as_their_end() -> None:
    histogram = Histogram()
    histogram.add(1e300)
    found = histogram.percentiles()
    assert found is not None
    assert found.p50 == pytest.approx(1e7, rel=0.03)


def test_counts_up_to_a_bound_are_exact() -> None:
    histogram = Histogram((0.0, 35.0, 100.0))
    for value in (0.0, 0.005, 34.99, 35.0, 35.01, 1000.0):
        histogram.add(value)
    assert histogram.cumulative() == [1, 4, 5]
    assert histogram.count == 6
    assert histogram.total == pytest.approx(1105.005)
