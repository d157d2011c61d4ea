from __future__ import annotations

import numpy as np
import pytest

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, ObjectMask
from streamseg.stages.next_objects import Answered, certainty, next_objects

SECOND = 1_000_000_000
HERE: Box = (100.0, 100.0, 200.0, 200.0)


def detection(number: int | None, left: float = 100.0) -> Detection:
    return Detection(
        xyxy=(left, 100.0, left + 100, 200.0), confidence=0.9, class_id=0, class_name="cup", tracker_id=number
    )


def answered(certain: float = 0.9, box: Box = HERE, t_ns: int = 0) -> Answered:
    return Answered(box, t_ns, certain)


def choose(
    detections: list[Detection], known: dict[int, Answered], now_ns: int = SECOND, *, still: bool = True
) -> list[int]:
    return next_objects(detections, known, now_ns=now_ns, reconfirm_ns=2 * SECOND, still=still)


def test_new_objects_come_first_then_the_most_moved_then_the_least_certain() -> None:
    known = {1: answered(0.9), 2: answered(0.9), 3: answered(0.7), 4: answered(0.8)}
    found = [detection(1), detection(2, left=150), detection(3), detection(4), detection(5), detection(None)]
    assert choose(found, known) == [4, 5, 1, 2, 3, 0]


def test_a_little_motion_does_not_count_more_than_certainty() -> None:
    known = {1: answered(0.9), 2: answered(0.3)}
    assert choose([detection(1, left=102), detection(2, left=101)], known) == [1, 0]


def test_a_still_scene_is_left_alone_until_it_is_time_to_confirm_it() -> None:
    known = {1: answered(), 2: answered(t_ns=SECOND)}
    found = [detection(1), detection(2)]
    assert choose(found, known, 2 * SECOND) == []
    assert sorted(choose(found, known, 2 * SECOND + 1)) == [0, 1]


@pytest.mark.parametrize(
    ("found", "known", "still"),
    [
        pytest.param(detection(1, left=130), answered(), True, id="it moved"),
        pytest.param(detection(2), answered(), True, id="it is new"),
        pytest.param(detection(1), answered(0.5), True, id="its mask is poor"),
        pytest.param(detection(1), answered(), False, id="the picture changed"),
    ],
)
def test_one_object_is_reason_enough(found: Detection, known: Answered, still: bool) -> None:
    assert choose([found], {1: known}, still=still) == [0]


def test_without_objects_there_is_nothing_to_do() -> None:
    assert choose([], {1: answered()}, still=False) == []


def test_certainty_is_the_least_of_all_that_is_known() -> None:
    mask = Mask.crop(np.ones((100, 100), np.bool_), 100, 100)
    assert mask is not None
    assert certainty(ObjectMask(mask, 0.8, 0.9), HERE) == 0.8
    assert certainty(ObjectMask(mask, 0.8, 0.6), HERE) == 0.6
    assert certainty(ObjectMask(mask), HERE) == 1
    assert certainty(ObjectMask(mask, 0.8, 0.9), (100.0, 100.0, 300.0, 200.0)) == 0.5
    assert certainty(ObjectMask(None, 0.9), HERE) == 0
