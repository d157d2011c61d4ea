from __future__ import annotations

import numpy as np
import pytest
from support.stage_context import FakeClock, FakeContext, put_frame, stage_spec

from streamseg.ipc.descriptors import Keyframe
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.stages.priority import Priority, certainty, decoding_time_ns

MS = 1_000_000
MAX_AGE_MS = 3000


def keyframe(t_ms: int, *detections: Detection) -> Keyframe:
    frame = put_frame(FakeContext(stage_spec("segment"), clock=FakeClock(t_ms * MS)), t_ms)
    return Keyframe(frame=frame, detections=detections)


def cup(track_id: int | None, left: float = 100.0) -> Detection:
    box = (left, 100.0, left + 100.0, 200.0)
    return Detection(xyxy=box, confidence=0.9, class_id=0, class_name="cup", tracker_id=track_id)


def mask_with(quality: float = 0.9) -> ObjectMask:
    return ObjectMask(Mask.crop(np.ones((100, 100), np.bool_), 100, 100), quality, 0.9)


def noisy(seed: int) -> Image:
    scene = np.random.default_rng(0).integers(0, 256, (36, 64, 3)).repeat(10, 0).repeat(10, 1)
    return np.clip(scene + np.random.default_rng(seed).normal(0, 12, scene.shape), 0, 255).astype(np.uint8)


def after(**quality_by_track: float) -> Priority:
    """Priority after a keyframe at 0 ms, with masks of such quality for tracks named `_1`, `_2`, …"""
    priority = Priority(MAX_AGE_MS)
    detections = [cup(int(name[1:])) for name in quality_by_track]
    asked = keyframe(0, *detections)
    assert len(priority.order(asked, noisy(0))) == len(detections)
    priority.update(asked, detections, [mask_with(quality) for quality in quality_by_track.values()])
    return priority


def test_new_objects_come_first_then_the_most_moved_then_the_least_certain() -> None:
    priority = after(_1=0.9, _2=0.9, _3=0.7, _4=0.8)
    found = (cup(1), cup(2, left=150), cup(3), cup(4), cup(5), cup(None))
    assert priority.order(keyframe(100, *found), noisy(1)) == [4, 5, 1, 2, 3, 0]


def test_a_little_motion_does_not_count_more_than_certainty() -> None:
    assert after(_1=0.9, _2=0.3).order(keyframe(100, cup(1, left=102), cup(2, left=101)), noisy(1)) == [1, 0]


@pytest.mark.parametrize(
    ("found", "quality"),
    [
        pytest.param(cup(1, left=130), 0.9, id="it moved"),
        pytest.param(cup(2), 0.9, id="it is new"),
        pytest.param(cup(1), 0.5, id="its mask is poor"),
    ],
)
def test_one_object_is_reason_enough(found: Detection, quality: float) -> None:
    assert after(_1=quality).order(keyframe(100, found), noisy(1)) == [0]


def test_a_still_scene_is_decoded_once_and_again_at_half_of_the_maximum_age() -> None:
    priority = Priority(MAX_AGE_MS)
    decoded = []
    for t_ms in range(0, 4000, 100):
        asked = keyframe(t_ms, cup(1))
        if priority.order(asked, noisy(t_ms)):
            priority.update(asked, asked.detections, [mask_with()])
            decoded.append(t_ms)
    assert decoded == [0, 1600, 3200]


def test_a_change_of_the_picture_counts_even_where_no_box_moves() -> None:
    priority = after(_1=0.9)
    changed = noisy(1)
    changed[120:160, 120:160] = 255 - changed[120:160, 120:160]
    assert priority.order(keyframe(100, cup(1)), noisy(2)) == []
    assert priority.order(keyframe(100, cup(1)), changed) == [0]


def test_without_objects_there_is_nothing_to_do() -> None:
    assert after(_1=0.9).order(keyframe(100), noisy(1)) == []
    assert Priority(MAX_AGE_MS).order(keyframe(0), noisy(0)) == []


def test_an_object_without_time_for_its_mask_is_new_the_next_time() -> None:
    priority = Priority(MAX_AGE_MS)
    asked = keyframe(0, cup(1), cup(2), cup(3))
    assert priority.order(asked, noisy(0)) == [0, 1, 2]
    priority.update(asked, asked.detections[:2], [mask_with()] * 2)
    assert priority.order(keyframe(100, cup(1), cup(2), cup(3)), noisy(1))[0] == 2


def test_ended_tracks_are_forgotten() -> None:
    priority = Priority(max_age_ms=1000)
    for number in range(200):
        asked = keyframe(100 * number, cup(number))
        priority.order(asked, noisy(0))
        priority.update(asked, asked.detections, [mask_with()])
    assert len(priority._last) <= 11


def test_certainty_is_the_least_of_the_estimates() -> None:
    box = (100.0, 100.0, 200.0, 200.0)
    mask = mask_with().mask
    assert certainty(ObjectMask(mask, 0.8, 0.9), box) == 0.8
    assert certainty(ObjectMask(mask, 0.8, 0.6), box) == 0.6
    assert certainty(ObjectMask(mask), box) == 1
    assert certainty(ObjectMask(mask, 0.8, 0.9), (100.0, 100.0, 300.0, 200.0)) == 0.5
    assert certainty(ObjectMask(None, 0.9), box) == 0


def test_decoding_takes_at_most_half_as_long_as_encoding() -> None:
    assert decoding_time_ns(700 * MS) == 350 * MS
    assert decoding_time_ns(0) > 0
