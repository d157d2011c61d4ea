from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from support.moving_scenes import HEIGHT, WIDTH, Pose, Shown, detection, film, sprite

from streamseg.config import Config, check_config
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks
from streamseg.ipc.ring import RingName
from streamseg.masks import Mask
from streamseg.messages import PENDING, PROPAGATED, REFINED, SEGMENTED, Detection, ObjectMask, TrackedObject
from streamseg.propagate.keyframe_mask import FrameTime, make_keyframe_masks
from streamseg.stages.packing import pack_keyframe_mask
from streamseg.stages.propagation import Propagation

FRAME_NS = 33_000_000
RING = RingName("ring", 0, 8, WIDTH * HEIGHT * 3)
OTHER = "mobilesam"
"""A segmenter whose masks nano can refine."""


def config(mode: str = "every-frame", interval: int = 5, **propagate: bool | float) -> Config:
    tree: dict[str, Any] = {
        "sources": [{"url": "clip.mp4"}],
        "mode": mode,
        "segmenter": {"keyframe_interval": interval},
        "propagate": {"refine": False, **propagate},
    }
    return check_config(tree)


def configured(
    mode: str = "every-frame", interval: int = 5, segmenter: str = OTHER, **propagate: bool | float
) -> Propagation:
    return Propagation.from_config(config(mode, interval, **propagate), segmenter)


def descriptor(seq: int) -> FrameDescriptor:
    time = seq * FRAME_NS
    return FrameDescriptor(
        source="main",
        seq=seq,
        ring=RING,
        width=WIDTH,
        height=HEIGHT,
        pts_ns=time,
        t_capture_ns=time,
        t_capture_unix_ns=time,
    )


def found(shown: Shown, numbers: Sequence[int | None]) -> list[Detection]:
    return [detection(mask, number) for mask, number in zip(shown.masks, numbers, strict=True) if mask is not None]


def boxes(seq: int, detections: Sequence[Detection]) -> Boxes:
    return Boxes(
        source="main",
        seq=seq,
        detections=tuple(detections),
        keyframe=seq % 5 == 0,
        t_detected_ns=seq * FRAME_NS,
        overrun=0,
        segment_replaced=0,
    )


def masks(seq: int, shown: Shown, numbers: Sequence[int | None] = (1, 2), order: Sequence[int] = (0, 1)) -> Masks:
    """The keyframe masks of the objects in `order`."""
    detections = [found(shown, numbers)[place] for place in order]
    results = [ObjectMask(visible(shown, place), 0.9, 0.8) for place in order]
    made = make_keyframe_masks(FrameTime(seq, seq * FRAME_NS), shown.image, detections, results)
    return Masks(
        source="main",
        seq=seq,
        pts_ns=seq * FRAME_NS,
        objects=tuple(map(pack_keyframe_mask, made)),
        t_capture_ns=0,
        t_encoded_ns=0,
        t_decoded_ns=0,
        overrun=0,
    )


def visible(shown: Shown, place: int) -> Mask:
    mask = shown.masks[place]
    assert mask is not None
    return mask


def apart(index: int, frame: int) -> Pose:
    """Two objects that never touch: one moves right, the other left."""
    return (90 + 5 * frame, 90, 1, 0) if index == 0 else (390 - 5 * frame, 270, 1, 0)


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    return film(16, [sprite(1), sprite(5)], apart)


def update(
    propagation: Propagation, seq: int, shown: list[Shown], newest: Boxes | None = None, made: Masks | None = None
) -> tuple[TrackedObject, ...]:
    """The objects of a frame, with its own boxes by default; then refine, as publish does."""
    own = boxes(seq, found(shown[seq], (1, 2)))
    items = propagation.update(descriptor(seq), shown[seq].image, newest or own, made)
    propagation.refine()
    return items


def methods(items: Sequence[TrackedObject]) -> list[str]:
    return [item.method for item in items]


def check_owners(items: Sequence[TrackedObject], shown: Shown, least: float = 0.85) -> None:
    for place, item in enumerate(items):
        assert item.mask is not None
        assert item.mask.iou(visible(shown, place)) > least


@pytest.mark.parametrize("mode", ["every-frame", "live"])
def test_without_propagation_an_object_has_a_mask_on_its_keyframe_only(mode: str, shown: list[Shown]) -> None:
    propagation = configured(mode, enabled=False)
    made = masks(1, shown[1])
    propagation.add(made)
    assert methods(update(propagation, 0, shown)) == [PENDING, PENDING]
    own = update(propagation, 1, shown, made=made)
    assert methods(own) == [SEGMENTED, SEGMENTED]
    check_owners(own, shown[1], 0.999)
    later = update(propagation, 2, shown, boxes(2, made.detections), made)  # also where the boxes have not moved
    assert [(item.method, item.mask, item.origin_seq) for item in later] == [(PENDING, None, None)] * 2


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("merges", [True, False])
def test_one_mask_is_one_object_unless_both_are_kept(merges: bool, enabled: bool, shown: list[Shown]) -> None:
    tree = config(enabled=enabled)
    detector = msgspec.structs.replace(tree.detector, merge_duplicates=merges)
    propagation = Propagation.from_config(msgspec.structs.replace(tree, detector=detector), OTHER)
    made = masks(0, shown[0], order=(0, 0))
    again = msgspec.structs.replace(made.detections[0], tracker_id=2, class_id=5, confidence=0.99)
    made = msgspec.structs.replace(
        made, objects=(made.objects[0], msgspec.structs.replace(made.objects[1], detection=again))
    )
    propagation.add(made)
    items = update(propagation, 0, shown, boxes(0, made.detections), made)
    assert [item.method for item in items] == [SEGMENTED] * (1 if merges else 2)
    if merges:
        assert (items[0].detection.tracker_id, items[0].detection.class_id) == (1, 5)


def test_without_propagation_masks_of_other_objects_are_ignored(shown: list[Shown]) -> None:
    """A restarted detect process numbered the second object differently: whose mask that is, is unknown."""
    propagation = configured(enabled=False)
    items = update(propagation, 1, shown, made=masks(1, shown[1], numbers=(1, 3)))
    assert methods(items) == [SEGMENTED, PENDING]
    assert [item.detection.tracker_id for item in items] == [1, 2]


def test_without_pixels_nothing_is_propagated(shown: list[Shown]) -> None:
    propagation = configured()
    made = masks(0, shown[0])
    propagation.add(made)
    newest = boxes(0, found(shown[0], (1, 2)))
    assert methods(propagation.update(descriptor(0), None, newest, made)) == [SEGMENTED, SEGMENTED]
    assert methods(propagation.update(descriptor(1), None, boxes(1, newest.detections), made)) == [PENDING, PENDING]


def test_masks_are_propagated_between_keyframes(shown: list[Shown]) -> None:
    propagation = configured()
    propagation.add(masks(0, shown[0]))
    assert methods(update(propagation, 0, shown)) == [SEGMENTED, SEGMENTED]
    for seq in range(1, 5):
        items = update(propagation, seq, shown)
        assert [(item.method, item.origin_seq) for item in items] == [(PROPAGATED, 0)] * 2
        assert items[0].age_ms == pytest.approx(seq * FRAME_NS / 1e6)
        check_owners(items, shown[seq])


def test_without_new_boxes_objects_move_by_flow(shown: list[Shown]) -> None:
    propagation = configured("live")
    propagation.add(masks(0, shown[0]))
    for seq in range(4):
        update(propagation, seq, shown)
    old = boxes(3, found(shown[3], (1, 2)))
    for seq in range(4, 9):
        items = update(propagation, seq, shown, old)
    assert methods(items) == [PROPAGATED, PROPAGATED]
    check_owners(items, shown[8], 0.75)
    for item, place in zip(items, (0, 1), strict=True):
        moved = item.detection.xyxy[0] - old.detections[place].xyxy[0]
        truly = visible(shown[8], place).x - visible(shown[3], place).x
        assert moved == pytest.approx(truly, abs=5)


@pytest.mark.parametrize(
    ("mode", "interval", "enabled", "expected"),
    [
        ("every-frame", 1, True, False),
        ("every-frame", 5, True, True),
        ("every-frame", 5, False, False),
        ("live", 1, True, True),
        ("live", 1, False, False),
    ],
)
def test_masks_are_propagated_where_frames_lie_between_keyframes(
    mode: str, interval: int, enabled: bool, expected: bool, shown: list[Shown]
) -> None:
    assert config(mode, interval, enabled=enabled).propagates_masks == expected
    propagation = configured(mode, interval, enabled=enabled)
    made = masks(0, shown[0])
    propagation.add(made)
    assert methods(update(propagation, 0, shown, made=made)) == [SEGMENTED, SEGMENTED]
    assert methods(update(propagation, 1, shown, made=made)) == [PROPAGATED if expected else PENDING] * 2


@pytest.mark.parametrize(
    ("segmenter", "refine", "expected"), [("nano", True, PENDING), (OTHER, True, REFINED), (OTHER, False, PENDING)]
)
def test_nano_draws_objects_that_another_segmenter_has_not_reached(
    segmenter: str, refine: bool, expected: str, shown: list[Shown]
) -> None:
    propagation = configured(segmenter=segmenter, refine=refine)
    for seq in range(3):  # one object a frame
        items = update(propagation, seq, shown)
    assert methods(items) == [expected, expected]
    assert all((item.mask is not None) == (expected == REFINED) for item in items)


def test_nano_refines_propagated_masks_of_another_segmenter(shown: list[Shown]) -> None:
    propagation = configured(refine=True)
    propagation.add(masks(0, shown[0]))
    items = [update(propagation, seq, shown) for seq in range(6)]
    assert methods(items[0]) == [SEGMENTED, SEGMENTED]
    assert methods(items[5]) == [REFINED, REFINED]
    assert [item.origin_seq for item in items[5]] == [0, 0]


@pytest.mark.parametrize(("mode", "frames"), [("live", 5), ("every-frame", 0)])
def test_live_objects_outlast_missed_detections(mode: str, frames: int, shown: list[Shown]) -> None:
    propagation = configured(mode)
    propagation.add(masks(0, shown[0]))
    for seq in range(5):
        update(propagation, seq, shown)
    missed = [update(propagation, seq, shown, boxes(seq, [])) for seq in range(5, 12)]
    assert [len(items) for items in missed] == [2] * frames + [0] * (7 - frames)
    assert all(methods(items) == [PROPAGATED, PROPAGATED] for items in missed[:frames])


@pytest.mark.parametrize("numbers", [(1, 2), (None, None)])
def test_masks_in_another_order_reach_their_objects(numbers: tuple[int | None, int | None], shown: list[Shown]) -> None:
    propagation = configured()
    propagation.add(masks(0, shown[0], numbers, order=(1, 0)))
    for seq in range(4):
        items = update(propagation, seq, shown, boxes(seq, found(shown[seq], numbers)))
        check_owners(items, shown[seq])


@pytest.mark.parametrize("masked", [0, 1])
def test_the_only_mask_of_a_keyframe_reaches_its_object(masked: int, shown: list[Shown]) -> None:
    propagation = configured()
    propagation.add(masks(0, shown[0], order=(masked,)))
    for seq in range(4):
        items = update(propagation, seq, shown)
        assert items[1 - masked].method == PENDING
        mask = items[masked].mask
        assert mask is not None
        assert mask.iou(visible(shown[seq], masked)) > 0.85


def test_a_late_mask_is_propagated_to_the_newest_frame(shown: list[Shown]) -> None:
    propagation = configured("live")
    for seq in range(9):
        assert methods(update(propagation, seq, shown)) == [PENDING, PENDING]
    propagation.add(masks(2, shown[2]))
    items = update(propagation, 9, shown)
    assert [(item.method, item.origin_seq) for item in items] == [(PROPAGATED, 2)] * 2
    check_owners(items, shown[9])
