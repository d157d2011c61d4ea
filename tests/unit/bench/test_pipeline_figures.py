from __future__ import annotations

import numpy as np
import pytest

from streamseg.bench.pipeline_figures import (
    MemoryFigures,
    Percentiles,
    dropped_between,
    ends_of,
    frame_seen,
    match,
    percentiles,
)
from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, Models, Result, Timings, TrackedObject
from streamseg.sources.scene import TruthObject


def test_percentiles_of_known_numbers() -> None:
    assert percentiles([float(number) for number in range(101)]) == Percentiles(p50=50.0, p99=99.0)
    assert percentiles([7.0]) == Percentiles(p50=7.0, p99=7.0)
    assert percentiles([]) == Percentiles(p50=None, p99=None)


def test_the_best_pairs_come_first_and_nothing_is_taken_twice() -> None:
    assert match([[0.9, 0.8], [0.85, 0.2]]) == [0.9]
    assert match([[0.5, 0.8], [0.4, 0.7]]) == [0.8, 0.4]
    assert match([[0.3], [0.31]]) == [0.31]
    assert match([[0.29]]) == []
    assert match([]) == match([[], []]) == []


def test_what_is_counted_of_a_frame() -> None:
    result = published(
        [tracked(mask(0, 0, 100), 3, 200.0), tracked(mask(350, 0, 100), 4, 100.0), tracked(None, None, 0.0)],
        seq=9,
        boxes_seq=8,
    )
    seen = frame_seen(result, [true(mask(20, 0, 100)), true(mask(700, 0, 100)), true(mask(351, 300, 100))])
    assert not seen.own_boxes
    assert seen.age_ms == 31.5
    assert seen.mask_ages_ms == [200.0, 100.0]
    assert seen.true_objects == 3
    assert seen.ious == [pytest.approx(80 / 120)]
    assert frame_seen(published([], seq=9, boxes_seq=9), []).own_boxes


def test_what_was_dropped_meanwhile() -> None:
    first, last = (
        Dropped(detect_replaced=3, segment_replaced=10),
        Dropped(detect_replaced=3, segment_replaced=50, publish_overrun=2),
    )
    assert dropped_between(first, last) == Dropped(segment_replaced=40, publish_overrun=2)


def test_memory_at_both_ends() -> None:
    assert ends_of([float(number) for number in range(60)]) == MemoryFigures(start=4.5, end=54.5)
    assert ends_of([5.0, None, 7.0]) == MemoryFigures(start=6.0, end=6.0)
    assert ends_of([None]) == MemoryFigures(start=None, end=None)


def mask(x: int, y: int, side: int) -> Mask:
    return Mask(x, y, np.ones((side, side), np.bool_))


def true(visible: Mask) -> TruthObject:
    return TruthObject(visible.xyxy, visible, "object", 1, 1.0)


def tracked(drawn: Mask | None, origin_seq: int | None, age_ms: float) -> TrackedObject:
    detection = Detection(xyxy=(0.0, 0.0, 9.0, 9.0), confidence=0.9, class_id=0, class_name="object")
    return TrackedObject(detection=detection, mask=drawn, method="propagated", origin_seq=origin_seq, age_ms=age_ms)


def published(objects: list[TrackedObject], *, seq: int, boxes_seq: int) -> Result:
    return Result(
        run_id="run",
        epoch=0,
        seq=seq,
        source="main",
        width=1280,
        height=720,
        pts_ns=0,
        t_capture_unix_ns=0,
        timings=Timings(published=31.5),
        dropped=Dropped(),
        models=Models(detector="true-boxes", segmenter="true-masks"),
        boxes_seq=boxes_seq,
        objects=tuple(objects),
    )
