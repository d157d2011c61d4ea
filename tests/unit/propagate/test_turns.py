from __future__ import annotations

from collections import Counter

import pytest
from support.moving_scenes import Pose, Shown, detection, film, sprite

from streamseg.masks import Mask
from streamseg.messages import MOVED, PENDING, PROPAGATED, Detection, TrackedObject
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_template
from streamseg.propagate.propagator import Budget, Propagator

FRAME_NS = 33_000_000
BUDGET = Budget(max_age_ns=10 * 1_000_000_000, missed_frames=5)


def time(seq: int) -> FrameTime:
    return FrameTime(seq, seq * FRAME_NS)


def found(shown: Shown) -> list[Detection]:
    return [detection(mask, number) for number, mask in enumerate(shown.masks, 1) if mask is not None]


def keyframe(shown: Shown, seq: int) -> list[KeyframeMask]:
    """The masks of all objects of a frame."""
    objects = ((detection(mask, number), mask) for number, mask in enumerate(shown.masks, 1) if mask is not None)
    return [
        KeyframeMask(time(seq), item, mask, 0.9, 0.8, make_template(shown.image, item.xyxy, mask))
        for item, mask in objects
    ]


def iou(item: TrackedObject, mask: Mask | None) -> float:
    assert item.mask is not None and mask is not None
    return item.mask.iou(mask)


def side_by_side(index: int, frame: int) -> Pose:
    """Eight objects that never touch; all move."""
    return 50 + 110 * (index % 4) + 2 * frame, 90 + 170 * (index // 4), 0.8, 0


def test_objects_beyond_the_number_are_moved_with_their_boxes_and_have_their_turns() -> None:
    shown = film(20, [sprite(seed) for seed in range(8)], side_by_side)
    propagator = Propagator(BUDGET)
    propagator.add(keyframe(shown[0], 0))
    turns: Counter[int | None] = Counter()
    for seq in range(20):
        detections = found(shown[seq])
        propagator.prefetch(time(seq), shown[seq].image, 3)
        items = propagator.update(time(seq), shown[seq].image, detections, most=3)
        moved = [item for item in items if item.method == MOVED]
        assert [item.detection.tracker_id for item in items] == list(range(1, 9))
        if seq:
            assert len(moved) == 5 and all(item.method in (MOVED, PROPAGATED) for item in items)
            assert all(item.origin_seq == 0 and item.age_ms == pytest.approx(seq * FRAME_NS / 1e6) for item in items)
            assert all(item.predicted_iou is None and item.stability is not None for item in moved)
        assert all(iou(item, mask) > 0.8 for item, mask in zip(items, shown[seq].masks, strict=True))
        turns.update(item.detection.tracker_id for item in items if item.method == PROPAGATED)
    assert len(turns) == 8 and max(turns.values()) <= 2 * min(turns.values())


def test_a_new_object_comes_first_and_large_ones_come_more_often() -> None:
    def poses(index: int, frame: int) -> Pose | None:
        if index == 7:
            return None if frame < 10 else (400, 300, 0.5, 0)
        return (110, 180, 1.6, 0) if index == 0 else (300 + 55 * (index % 3), 80 + 90 * (index // 3), 0.4, 0)

    shown = film(34, [sprite(seed) for seed in range(8)], poses)
    propagator = Propagator(BUDGET)
    propagator.add(keyframe(shown[0], 0))
    turns: Counter[int | None] = Counter()
    for seq in range(34):
        detections = found(shown[seq])
        propagator.update(time(seq), shown[seq].image, detections, most=2)
        propagated = {track.detection.tracker_id for track in propagator._tracks if track.propagated_seq == seq}
        assert len(propagated) == 2
        assert 8 in propagated or seq != 10
        turns.update(propagated)
    assert turns[1] > 1.2 * max(turns[number] for number in range(2, 8))
    assert all(turns[number] >= 4 for number in range(1, 8)), "none starves"
    assert turns[8] >= 2, "nor does the one without a mask"


def test_a_mask_of_the_segmenter_is_shown_at_once_where_its_object_waits() -> None:
    shown = film(8, [sprite(seed) for seed in range(8)], side_by_side)
    propagator = Propagator(BUDGET)
    for seq in range(8):
        detections = found(shown[seq])
        if seq == 4:
            propagator.add(keyframe(shown[2], 2))
        items = propagator.update(time(seq), shown[seq].image, detections, most=2)
        if seq >= 4:
            assert {item.method for item in items} <= {MOVED, PROPAGATED}
            assert all(item.origin_seq == 2 for item in items)
            assert all(iou(item, mask) > 0.75 for item, mask in zip(items, shown[seq].masks, strict=True))


def test_moved_masks_are_dropped_when_they_are_too_old() -> None:
    shown = film(8, [sprite(seed) for seed in range(8)], side_by_side)
    propagator = Propagator(Budget(max_age_ns=5 * FRAME_NS))
    propagator.add(keyframe(shown[0], 0))
    for seq in range(8):
        detections = found(shown[seq])
        items = propagator.update(time(seq), shown[seq].image, detections, most=2)
    assert [item.method for item in items] == [PENDING] * 8


def test_an_object_that_waited_keeps_following_its_own_motion_without_new_boxes() -> None:
    """Its box is predicted from its last steps, and corrected by no more than has happened since its boxes."""
    shown = film(14, [sprite(seed) for seed in range(8)], side_by_side)
    propagator = Propagator(BUDGET)
    propagator.add(keyframe(shown[0], 0))
    for seq in range(14):
        new = seq % 2 == 0
        detections = found(shown[seq])
        found_on = seq if new else None
        items = propagator.update(time(seq), shown[seq].image, detections if new else None, found_on=found_on, most=3)
        if seq > 8:
            for item, mask in zip(items, shown[seq].masks, strict=True):
                assert mask is not None and item.detection.xyxy == pytest.approx(mask.xyxy, abs=3)
