from __future__ import annotations

import numpy as np

from streamseg.ipc.descriptors import FrameDescriptor, Keyframe
from streamseg.ipc.ring import RingName
from streamseg.masks import Mask
from streamseg.messages import Detection, Image, ObjectMask
from streamseg.stages.attention import Attention, time_for_decoding_ns

MS = 1_000_000
RING = RingName("ring", 0, 8, 640 * 360 * 3)


def keyframe(t_ms: int, *numbers: int) -> Keyframe:
    frame = FrameDescriptor(
        source="main",
        seq=t_ms,
        ring=RING,
        width=640,
        height=360,
        pts_ns=t_ms * MS,
        t_capture_ns=t_ms * MS,
        t_capture_unix_ns=t_ms * MS,
    )
    return Keyframe(frame=frame, detections=tuple(detection(number) for number in numbers))


def detection(number: int) -> Detection:
    return Detection(xyxy=(100.0, 100.0, 200.0, 200.0), confidence=0.9, class_id=0, class_name="cup", tracker_id=number)


def answer() -> ObjectMask:
    mask = Mask.crop(np.ones((100, 100), np.bool_), 100, 100)
    return ObjectMask(mask, 0.9, 0.9)


def noisy(seed: int) -> Image:
    scene = np.random.default_rng(0).integers(0, 256, (36, 64, 3)).repeat(10, 0).repeat(10, 1)
    return np.clip(scene + np.random.default_rng(seed).normal(0, 12, scene.shape), 0, 255).astype(np.uint8)


def test_a_still_scene_is_drawn_once_and_again_at_half_of_the_age_at_which_masks_are_given_up() -> None:
    attention = Attention(max_age_ms=3000)
    drawn = []
    for t_ms in range(0, 4000, 100):
        asked = keyframe(t_ms, 1)
        if attention.choose(asked, noisy(t_ms)):
            attention.learn(asked, asked.detections, [answer()])
            drawn.append(t_ms)
    assert drawn == [0, 1600, 3200]


def test_a_change_of_the_picture_is_noticed_where_no_box_moves() -> None:
    attention = Attention(max_age_ms=3000)
    asked = keyframe(0, 1)
    assert attention.choose(asked, noisy(0)) == [0]
    attention.learn(asked, asked.detections, [answer()])
    changed = noisy(1)
    changed[120:160, 120:160] = 255 - changed[120:160, 120:160]
    assert attention.choose(keyframe(100, 1), noisy(2)) == []
    assert attention.choose(keyframe(100, 1), changed) == [0]


def test_what_was_not_drawn_for_want_of_time_is_new_the_next_time() -> None:
    attention = Attention(max_age_ms=3000)
    asked = keyframe(0, 1, 2, 3)
    assert attention.choose(asked, noisy(0)) == [0, 1, 2]
    attention.learn(asked, asked.detections[:2], [answer()] * 2)
    assert attention.choose(keyframe(100, 1, 2, 3), noisy(1))[0] == 2


def test_tracks_that_ended_are_forgotten() -> None:
    attention = Attention(max_age_ms=1000)
    for number in range(200):
        asked = keyframe(100 * number, number)
        attention.choose(asked, noisy(0))
        attention.learn(asked, asked.detections, [answer()])
    assert len(attention._answered) <= 11


def test_drawing_takes_at_most_half_as_long_as_reading_the_picture() -> None:
    assert time_for_decoding_ns(700 * MS) == 350 * MS
    assert time_for_decoding_ns(0) > 0
