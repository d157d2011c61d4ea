from __future__ import annotations

from collections.abc import Iterable

import pytest
from support.published_frames import published

from streamseg.ipc.control import Published, PublishedMask
from streamseg.messages import Dropped
from streamseg.monitor.stats import RunFigures


def frame(
    seq: int,
    *mask_ages_ms: float,
    objects: int = 0,
    age_ms: float = 30.0,
    boxes_seq: int | None = None,
    masks_seq: int | None = None,
    dropped: Dropped | None = None,
) -> Published:
    masks = (PublishedMask("some-method", mask_age_ms) for mask_age_ms in mask_ages_ms)
    classes = ("cup",) if objects else ()
    return published(
        *masks,
        seq=seq,
        age_ms=age_ms,
        boxes_seq=boxes_seq,
        masks_seq=masks_seq,
        objects=objects,
        classes=classes,
        dropped=dropped,
    )


def counted(*frames: Published, at_s: Iterable[float] | None = None) -> RunFigures:
    """The figures of frames published a second apart, or at those times."""
    clock = iter(range(len(frames)) if at_s is None else at_s)
    figures = RunFigures(lambda: next(clock))
    for one in frames:
        figures.add(one)
    return figures


def test_a_run_without_frames() -> None:
    figures = counted()
    assert (figures.frames, figures.rate, figures.keyframe_rate) == (0, 0, 0)
    assert figures.own_boxes is figures.masked is None
    assert figures.frame_age_ms.percentiles() is None


def test_the_rate_is_from_the_first_frame_to_the_last() -> None:
    assert counted(frame(0), at_s=[7.0]).rate == 0
    assert counted(*map(frame, range(5)), at_s=[7.0, 7.1, 7.5, 8.0, 9.0]).rate == pytest.approx(2)


def test_a_keyframe_is_counted_once_however_long_its_masks_are_used() -> None:
    frames = [frame(seq, masks_seq=masks_seq) for seq, masks_seq in enumerate([None, None, 1, 1, 1, 4, 4, 6, 6, 6])]
    assert counted(*frames).keyframe_rate == pytest.approx(2 / 7), "two more after the first, in seven seconds"


def test_shares_are_of_frames_and_of_objects() -> None:
    figures = counted(
        frame(0),
        frame(1, 0.0, objects=2, boxes_seq=1),
        frame(2, 0.0, 33.0, objects=2, boxes_seq=1),
        frame(3, boxes_seq=3, objects=2),
    )
    assert figures.own_boxes == 0.5
    assert figures.masked == 0.5
    assert figures.frames_with_masks == 2
    assert figures.classes == {"cup": 3}


def test_ages_are_those_of_frames_and_of_masks() -> None:
    figures = counted(*(frame(seq, 200.0, age_ms=40.0) for seq in range(50)), frame(50, 900.0, age_ms=80.0))
    ages, mask_ages = figures.frame_age_ms.percentiles(), figures.mask_age_ms.percentiles()
    assert ages is not None
    assert mask_ages is not None
    assert (ages.p50, ages.p99) == pytest.approx((40, 80), rel=0.01)
    assert (mask_ages.p50, mask_ages.p99) == pytest.approx((200, 900), rel=0.01)


def test_drops_go_on_across_restarts() -> None:
    counts = [(5, 0), (2, 8), (3, 0), (3, 9)]
    figures = counted(
        *(frame(seq, dropped=Dropped(detect_replaced=a, segment_overrun=b)) for seq, (a, b) in enumerate(counts))
    )
    assert +figures.drops.total == {"detect_replaced": 8, "segment_overrun": 9}
