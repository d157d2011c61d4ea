from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest

from benchmarks.overlay import bench_overlay


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def test_figures_of_a_short_measurement() -> None:
    figures = bench_overlay(rounds=2)
    assert figures.masks == 10
    assert 0 < figures.overlay_ms < 1000
    assert 0 < figures.supervision_ms < 10_000
    assert 0 < figures.supervision_dense_ms < 10_000
    assert 0 <= figures.largest_difference <= 2
