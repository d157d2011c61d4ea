from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.results import EMPTY_RESULT

from streamseg.masks import Mask
from streamseg.messages import Detection, ResultMessage, Timings, TrackedObject
from streamseg.monitor.latency import Percentiles
from streamseg.monitor.stream import TIMING_POINTS, WINDOW_FRAMES, RecentResults, StreamFigures


def thing(age_ms: float | None, method: str = "segmented") -> TrackedObject:
    """An object whose mask has that age, or that has none."""
    detection = Detection(xyxy=(0.0, 0.0, 4.0, 3.0), confidence=1.0, class_id=0, class_name="cup", tracker_id=1)
    if age_ms is None:
        return TrackedObject(detection=detection)
    return TrackedObject(detection=detection, mask=Mask(0, 0, np.ones((3, 4), np.bool_)), method=method, age_ms=age_ms)


def result(
    seq: int,
    *objects: TrackedObject,
    gap: int = 0,
    run_id: str = "run",
    boxes_seq: int | None = None,
    timings: Timings | None = None,
) -> ResultMessage:
    return replace(
        EMPTY_RESULT,
        run_id=run_id,
        seq=seq,
        timings=timings or EMPTY_RESULT.timings,
        boxes_seq=boxes_seq,
        objects=objects,
        gap=gap,
    )


def figures_of(recent: RecentResults, now_s: float) -> StreamFigures:
    figures = recent.figures(now_s)
    assert figures is not None
    return figures


def shown(percentiles: Percentiles | None) -> tuple[float, float]:
    assert percentiles is not None
    return round(percentiles.p50, 6), round(percentiles.p99, 6)


def test_there_are_no_figures_before_the_first_result() -> None:
    assert RecentResults().figures(5.0) is None


def test_the_rate_covers_the_window_and_falls_while_no_result_arrives() -> None:
    recent = RecentResults()
    for number in range(101):
        recent.add(result(number), number / 10)
    assert figures_of(recent, 10.0).rate == pytest.approx(10)
    assert figures_of(recent, 15.0).rate == pytest.approx(5), "the 51 frames after 5 s, in 10 s"
    assert figures_of(recent, 60.0).rate == 0
    assert figures_of(recent, 60.0).own_boxes is None
    assert figures_of(recent, 60.0).received == 101


def test_only_the_window_is_kept() -> None:
    recent = RecentResults()
    for number in range(WINDOW_FRAMES + 100):
        recent.add(result(number, boxes_seq=number if number >= 100 else None), number / 1000)
    assert figures_of(recent, (WINDOW_FRAMES + 99) / 1000).own_boxes == 1


def test_missed_frames_and_same_frame_boxes_are_counted() -> None:
    recent = RecentResults()
    recent.add(result(3, boxes_seq=3), 0.0)
    recent.add(result(7, boxes_seq=6, gap=3), 0.1)
    recent.add(result(8, gap=0), 0.2)
    recent.add(result(10, boxes_seq=10, gap=1), 0.3)
    figures = figures_of(recent, 0.3)
    assert (figures.received, figures.missed, figures.own_boxes) == (4, 4, 0.5)


def test_methods_are_of_the_newest_frame_and_mask_ages_of_the_window() -> None:
    recent = RecentResults()
    recent.add(result(0, thing(100.0)), 0.0)
    recent.add(
        result(1, thing(0.0, "segmented"), thing(200.0, "propagated"), thing(50.0, "propagated"), thing(None)), 0.1
    )
    figures = figures_of(recent, 0.1)
    assert figures.methods == (("propagated", 2), ("segmented", 1))
    assert shown(figures.mask_age_ms) == (75.0, 197.0)
    assert len(figures.newest.objects) == 4


def test_timings_cover_the_frames_that_passed_the_point() -> None:
    recent = RecentResults()
    recent.add(result(0, timings=Timings(received=1.0, published=20.0)), 0.0)
    recent.add(result(1, timings=Timings(received=3.0, detected=9.0, published=40.0)), 0.1)
    points = dict(zip(TIMING_POINTS, figures_of(recent, 0.1).timings_ms, strict=True))
    assert shown(points["received"]) == (2.0, 2.98)
    assert shown(points["detected"]) == (9.0, 9.0)
    assert shown(points["published"]) == (30.0, 39.8)
    assert points["encoded"] is points["decoded"] is points["rendered"] is None


def test_a_new_run_clears_the_figures() -> None:
    recent = RecentResults()
    recent.add(result(4, gap=4, boxes_seq=4), 0.0)
    recent.add(result(0, run_id="another"), 1.0)
    figures = figures_of(recent, 1.0)
    assert (figures.received, figures.missed, figures.own_boxes, figures.newest.seq) == (1, 0, 0, 0)
