from __future__ import annotations

import numpy as np
import pytest

from streamseg.duplicates import merge_boxes, merge_masks
from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Detection, TrackedObject

CUP: Box = (100.0, 100.0, 200.0, 250.0)


def found(name: str, box: Box, confidence: float, number: int | None = None) -> Detection:
    return Detection(xyxy=box, confidence=confidence, class_id=len(name), class_name=name, tracker_id=number)


def masked(name: str, left: int, confidence: float, number: int | None = None, width: int = 100) -> TrackedObject:
    mask = Mask(left, 100, np.ones((150, width), np.bool_))
    return TrackedObject(detection=found(name, mask.xyxy, confidence, number), mask=mask)


def names(objects: tuple[TrackedObject, ...]) -> list[tuple[str, int | None]]:
    return [(item.detection.class_name, item.detection.tracker_id) for item in objects]


@pytest.mark.parametrize(("cup", "bottle", "kept"), [(0.8, 0.4, "cup"), (0.4, 0.8, "bottle")])
def test_the_surer_of_two_classes_in_one_box_stays(cup: float, bottle: float, kept: str) -> None:
    near = (102.0, 98.0, 203.0, 252.0)
    assert [each.class_name for each in merge_boxes([found("cup", CUP, cup), found("bottle", near, bottle)])] == [kept]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(CUP, (90.0, 20.0, 260.0, 400.0), id="a cup in a hand"),
        pytest.param((100.0, 50.0, 200.0, 250.0), (90.0, 140.0, 215.0, 290.0), id="a rider on a bicycle"),
        pytest.param((100.0, 100.0, 300.0, 300.0), (110.0, 115.0, 295.0, 270.0), id="a pizza on a table"),
        pytest.param(CUP, (118.0, 100.0, 218.0, 250.0), id="two things side by side"),
    ],
)
def test_what_only_overlaps_stays_apart(one: Box, other: Box) -> None:
    both = (found("one", one, 0.9), found("other", other, 0.5))
    assert merge_boxes(both) == both


def test_boxes_of_one_class_are_left_to_the_detector() -> None:
    both = (found("cup", CUP, 0.9), found("cup", CUP, 0.5))
    assert merge_boxes(both) == both


def test_the_order_of_the_others_stays() -> None:
    three = [found("bottle", CUP, 0.4), found("person", (0.0, 0.0, 400.0, 400.0), 0.3), found("cup", CUP, 0.8)]
    assert merge_boxes(three) == (three[1], three[2])
    assert merge_boxes([]) == ()


def test_objects_with_one_mask_are_one_with_the_older_number_and_the_surer_class() -> None:
    assert names(merge_masks([masked("bottle", 100, 0.4, 3), masked("cup", 104, 0.8, 7)])) == [("cup", 3)]
    assert names(merge_masks([masked("bottle", 100, 0.9, 3), masked("cup", 104, 0.8, 7)])) == [("bottle", 3)]
    assert names(merge_masks([masked("bottle", 100, 0.9), masked("cup", 104, 0.8, 7)])) == [("bottle", 7)]
    assert names(merge_masks([masked("bottle", 100, 0.9), masked("cup", 104, 0.8)])) == [("bottle", None)]


def test_masks_of_one_class_need_less() -> None:
    assert names(merge_masks([masked("table", 100, 0.9, 1), masked("table", 130, 0.8, 2)])) == [("table", 1)]
    assert len(merge_masks([masked("cup", 100, 0.9, 1), masked("cup", 140, 0.8, 2)])) == 2


def test_other_masks_stay() -> None:
    apart = (masked("cup", 100, 0.9, 1), masked("bottle", 130, 0.8, 2), masked("plate", 100, 0.7, 3, width=60))
    assert merge_masks(apart) == apart
    pending = (TrackedObject(detection=found("cup", CUP, 0.9)), TrackedObject(detection=found("bottle", CUP, 0.8)))
    assert merge_masks(pending) == pending
