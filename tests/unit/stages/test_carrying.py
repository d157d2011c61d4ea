from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.moving_scenes import HEIGHT, WIDTH, Pose, Shown, detection, film, sprite

from streamseg.config import Config, check_config
from streamseg.ipc.descriptors import Boxes, FrameDescriptor, Masks, PackedObjectMask, pack_object_mask
from streamseg.ipc.ring import RingName
from streamseg.masks import Mask
from streamseg.messages import PENDING, PROPAGATED, REFINED, SEGMENTED, Detection, ObjectMask, TrackedObject
from streamseg.propagate.origin import Origin, remember
from streamseg.stages.carrying import CarriedMasks
from streamseg.stages.origins import pack_origin, unpack_origin

FRAME_NS = 33_000_000
RING = RingName("ring", 0, 8, WIDTH * HEIGHT * 3)
OTHER = "mobilesam"
"""A segmenter beside which the small one has something to say."""


def config(mode: str = "every-frame", interval: int = 5, **propagate: bool | float) -> Config:
    tree: dict[str, Any] = {
        "sources": [{"url": "clip.mp4"}],
        "mode": mode,
        "segmenter": {"keyframe_interval": interval},
        "propagate": {"refine": False, **propagate},
    }
    return check_config(tree)


def carrying(
    mode: str = "every-frame", interval: int = 5, segmenter: str = OTHER, **propagate: bool | float
) -> CarriedMasks:
    return CarriedMasks.of(config(mode, interval, **propagate), segmenter)


def descriptor(seq: int) -> FrameDescriptor:
    moment = seq * FRAME_NS
    return FrameDescriptor(
        seq=seq, ring=RING, width=WIDTH, height=HEIGHT, pts_ns=moment, t_capture_ns=moment, t_capture_unix_ns=moment
    )


def found(shown: Shown, numbers: Sequence[int | None]) -> list[Detection]:
    return [detection(mask, number) for mask, number in zip(shown.masks, numbers, strict=True) if mask is not None]


def boxes(seq: int, detections: Sequence[Detection]) -> Boxes:
    return Boxes(
        seq=seq,
        detections=tuple(detections),
        keyframe=seq % 5 == 0,
        t_detected_ns=seq * FRAME_NS,
        tracker_state=b"",
        overrun=0,
        segment_replaced=0,
    )


def masks(seq: int, shown: Shown, numbers: Sequence[int | None] = (1, 2), order: Sequence[int] = (0, 1)) -> Masks:
    """Segment's answer for those of the objects that `order` names."""
    detections = [found(shown, numbers)[place] for place in order]
    return Masks(
        seq=seq,
        pts_ns=seq * FRAME_NS,
        detections=tuple(detections),
        objects=tuple(answer(shown, place, item) for place, item in zip(order, detections, strict=True)),
        t_encoded_ns=0,
        t_decoded_ns=0,
        overrun=0,
    )


def answer(shown: Shown, place: int, item: Detection) -> PackedObjectMask:
    mask = visible(shown, place)
    origin = remember(shown.image, item.xyxy, mask)
    assert origin is not None
    return pack_object_mask(ObjectMask(mask, "model", 0.9, 0.8), pack_origin(origin))


def visible(shown: Shown, place: int) -> Mask:
    mask = shown.masks[place]
    assert mask is not None
    return mask


def apart(index: int, frame: int) -> Pose:
    """Two objects that never touch, of which one goes right and the other one left."""
    return (90 + 5 * frame, 90, 1, 0) if index == 0 else (390 - 5 * frame, 270, 1, 0)


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    return film(16, [sprite(1), sprite(5)], apart)


def objects(
    carried: CarriedMasks, seq: int, shown: list[Shown], said: Boxes | None = None, answered: Masks | None = None
) -> tuple[TrackedObject, ...]:
    """The objects of a frame with its own boxes, where no others are given; then the small segmenter looks at it, as in publish."""
    items = carried.objects(descriptor(seq), shown[seq].image, said or boxes(seq, found(shown[seq], (1, 2))), answered)
    carried.sharpen()
    return items


def methods(items: Sequence[TrackedObject]) -> list[str]:
    return [item.method for item in items]


def check_owners(items: Sequence[TrackedObject], shown: Shown, least: float = 0.85) -> None:
    for place, item in enumerate(items):
        assert item.mask is not None
        assert item.mask.iou(visible(shown, place)) > least


def remembered(shown: Shown) -> Origin:
    origin = remember(shown.image, visible(shown, 0).xyxy, visible(shown, 0))
    assert origin is not None
    return origin


def test_an_origin_survives_its_way(shown: list[Shown]) -> None:
    before = remembered(shown[0])
    after = unpack_origin(pack_origin(before))
    assert np.array_equal(after.planes, before.planes)
    assert np.array_equal(after.appearance.columns, before.appearance.columns)
    assert np.array_equal(after.appearance.odds, before.appearance.odds)


def test_an_origin_of_one_colour_survives_its_way() -> None:
    """The fewest colours that there can be."""
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    before = remember(black, (10, 10, 60, 60), Mask(20, 20, np.ones((30, 30), np.bool_)))
    assert before is not None
    after = unpack_origin(pack_origin(before))
    assert np.array_equal(after.appearance.odds, before.appearance.odds)


@pytest.mark.parametrize("mode", ["every-frame", "live"])
def test_without_carrying_an_object_has_a_mask_on_its_own_frame_only(mode: str, shown: list[Shown]) -> None:
    carried = carrying(mode, enabled=False)
    answered = masks(1, shown[1])
    carried.learn(answered)
    assert methods(objects(carried, 0, shown)) == [PENDING, PENDING]
    own = objects(carried, 1, shown, answered=answered)
    assert methods(own) == [SEGMENTED, SEGMENTED]
    check_owners(own, shown[1], 0.999)
    later = objects(carried, 2, shown, boxes(2, answered.detections), answered)  # also where the objects rest
    assert [(item.method, item.mask, item.origin_seq) for item in later] == [(PENDING, None, None)] * 2


def test_without_carrying_answers_for_other_objects_are_not_shown(shown: list[Shown]) -> None:
    """A detect process that took over has given another number: nobody knows whose mask that is."""
    carried = carrying(enabled=False)
    items = objects(carried, 1, shown, answered=masks(1, shown[1], numbers=(1, 3)))
    assert methods(items) == [SEGMENTED, PENDING]
    assert [item.detection.tracker_id for item in items] == [1, 2]


def test_without_a_picture_nothing_is_carried(shown: list[Shown]) -> None:
    carried = carrying()
    answered = masks(0, shown[0])
    carried.learn(answered)
    said = boxes(0, found(shown[0], (1, 2)))
    assert methods(carried.objects(descriptor(0), None, said, answered)) == [SEGMENTED, SEGMENTED]
    assert methods(carried.objects(descriptor(1), None, boxes(1, said.detections), answered)) == [PENDING, PENDING]


def test_between_keyframes_masks_are_carried(shown: list[Shown]) -> None:
    carried = carrying()
    carried.learn(masks(0, shown[0]))
    assert methods(objects(carried, 0, shown)) == [SEGMENTED, SEGMENTED]
    for seq in range(1, 5):
        items = objects(carried, seq, shown)
        assert [(item.method, item.origin_seq) for item in items] == [(PROPAGATED, 0)] * 2
        assert items[0].age_ms == pytest.approx(seq * FRAME_NS / 1e6)
        check_owners(items, shown[seq])


def test_where_detect_is_silent_objects_go_on_by_flow(shown: list[Shown]) -> None:
    carried = carrying("live")
    carried.learn(masks(0, shown[0]))
    for seq in range(4):
        objects(carried, seq, shown)
    old = boxes(3, found(shown[3], (1, 2)))
    for seq in range(4, 9):
        items = objects(carried, seq, shown, old)
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
def test_masks_are_carried_where_frames_lie_between(
    mode: str, interval: int, enabled: bool, expected: bool, shown: list[Shown]
) -> None:
    assert config(mode, interval, enabled=enabled).carries_masks == expected
    carried = carrying(mode, interval, enabled=enabled)
    answered = masks(0, shown[0])
    carried.learn(answered)
    assert methods(objects(carried, 0, shown, answered=answered)) == [SEGMENTED, SEGMENTED]
    assert methods(objects(carried, 1, shown, answered=answered)) == [PROPAGATED if expected else PENDING] * 2


@pytest.mark.parametrize(
    ("segmenter", "refine", "expected"), [("nano", True, PENDING), (OTHER, True, REFINED), (OTHER, False, PENDING)]
)
def test_the_small_segmenter_has_a_say_beside_another_one(
    segmenter: str, refine: bool, expected: str, shown: list[Shown]
) -> None:
    carried = carrying(segmenter=segmenter, refine=refine)
    for seq in range(3):  # one object a frame is asked about
        items = objects(carried, seq, shown)
    assert methods(items) == [expected, expected]
    assert all((item.mask is not None) == (expected == REFINED) for item in items)


def test_carried_masks_are_sharpened_beside_another_segmenter(shown: list[Shown]) -> None:
    carried = carrying(refine=True)
    carried.learn(masks(0, shown[0]))
    items = [objects(carried, seq, shown) for seq in range(6)]
    assert methods(items[0]) == [SEGMENTED, SEGMENTED]
    assert methods(items[5]) == [REFINED, REFINED]
    assert [item.origin_seq for item in items[5]] == [0, 0]


@pytest.mark.parametrize(("mode", "followed"), [("live", 5), ("every-frame", 0)])
def test_objects_that_detect_misses_are_followed_in_live_mode(mode: str, followed: int, shown: list[Shown]) -> None:
    carried = carrying(mode)
    carried.learn(masks(0, shown[0]))
    for seq in range(5):
        objects(carried, seq, shown)
    missed = [objects(carried, seq, shown, boxes(seq, [])) for seq in range(5, 12)]
    assert [len(items) for items in missed] == [2] * followed + [0] * (7 - followed)
    assert all(methods(items) == [PROPAGATED, PROPAGATED] for items in missed[:followed])


@pytest.mark.parametrize("numbers", [(1, 2), (None, None)])
def test_masks_in_another_order_find_their_owners(numbers: tuple[int | None, int | None], shown: list[Shown]) -> None:
    carried = carrying()
    carried.learn(masks(0, shown[0], numbers, order=(1, 0)))
    for seq in range(4):
        items = objects(carried, seq, shown, boxes(seq, found(shown[seq], numbers)))
        check_owners(items, shown[seq])


@pytest.mark.parametrize("answered", [0, 1])
def test_an_answer_for_fewer_objects_is_that_of_its_owner(answered: int, shown: list[Shown]) -> None:
    carried = carrying()
    carried.learn(masks(0, shown[0], order=(answered,)))
    for seq in range(4):
        items = objects(carried, seq, shown)
        assert items[1 - answered].method == PENDING
        mask = items[answered].mask
        assert mask is not None
        assert mask.iou(visible(shown[seq], answered)) > 0.85


def test_an_answer_that_comes_late_is_carried_to_the_newest_frame(shown: list[Shown]) -> None:
    carried = carrying("live")
    for seq in range(9):
        assert methods(objects(carried, seq, shown)) == [PENDING, PENDING]
    carried.learn(masks(2, shown[2]))
    items = objects(carried, 9, shown)
    assert [(item.method, item.origin_seq) for item in items] == [(PROPAGATED, 2)] * 2
    check_owners(items, shown[9])
