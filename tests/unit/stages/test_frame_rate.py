from __future__ import annotations

import random
from itertools import pairwise

import pytest

from streamseg.stages.frame_rate import FrameRate


def taken(fps: float | None, times_s: list[float]) -> list[float]:
    rate = FrameRate(fps)
    return [time_s for time_s in times_s if rate.takes(round(time_s * 1e9))]


@pytest.mark.parametrize("source_fps", [30, 29.97, 25, 12.5])
@pytest.mark.parametrize("fps", [1, 5, 7, 12])
def test_it_takes_so_many_a_second_evenly_also_of_times_that_jitter(fps: float, source_fps: float) -> None:
    chance = random.Random(5)
    for jitter_s in (0.0, 0.4 / source_fps):
        times = taken(fps, [n / source_fps + chance.uniform(0, jitter_s) for n in range(round(20 * source_fps))])
        assert len(times) == pytest.approx(20 * fps, abs=2)
        gaps = [after - before for before, after in pairwise(times)]
        assert max(gaps) < 1 / fps + 1.5 / source_fps


def test_it_takes_all_frames_of_a_slower_source_and_without_a_rate() -> None:
    times = [n / 15 for n in range(100)]
    assert taken(30, times) == taken(15, times) == taken(None, times) == times


def test_a_pause_is_made_up_for_by_one_frame_at_most() -> None:
    times = taken(2, [n / 30 for n in range(31)] + [60 + n / 30 for n in range(31)])
    assert len([time for time in times if time < 30]) == 3
    assert [time for time in times if time > 30] == pytest.approx([60, 60 + 1 / 30, 60.5333, 61], abs=0.04)


@pytest.mark.parametrize(
    ("fps", "frames", "source_fps", "count"),
    [(5, 300, 30, 50), (50, 300, 30, 300), (5, None, 30, None), (5, 300, None, None), (None, 300, None, 300)],
)
def test_the_number_of_frames_of_a_file(
    fps: float | None, frames: int | None, source_fps: float | None, count: int | None
) -> None:
    assert FrameRate(fps).count(frames, source_fps) == count
