from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamseg.geometry import (
    Box,
    box_area,
    box_iou,
    clip_box,
    enclosing_box,
    intersection,
    meeting_pairs,
    similar_pairs,
)

SQUARE: Box = (10.0, 10.0, 20.0, 20.0)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (SQUARE, 1.0),
        ((15.0, 10.0, 25.0, 20.0), 1 / 3),
        ((12.0, 12.0, 17.0, 16.0), 0.2),
        ((20.0, 10.0, 30.0, 20.0), 0.0),
        ((40.0, 40.0, 50.0, 50.0), 0.0),
        ((15.0, 15.0, 15.0, 15.0), 0.0),
    ],
    ids=["the same", "half of it", "inside it", "side by side", "far away", "empty"],
)
def test_iou_is_the_common_share_of_both_boxes(other: Box, iou: float) -> None:
    assert box_iou(SQUARE, other) == box_iou(other, SQUARE) == pytest.approx(iou)


def test_boxes_that_do_not_meet_have_no_common_area() -> None:
    assert box_area(intersection(SQUARE, (15.0, 5.0, 30.0, 12.0))) == 10
    assert box_area(intersection(SQUARE, (40.0, 40.0, 50.0, 50.0))) == 0
    assert enclosing_box(SQUARE, (15.0, 5.0, 30.0, 12.0)) == (10.0, 5.0, 30.0, 20.0)


def test_a_box_is_clipped_to_its_picture() -> None:
    assert clip_box((-5.0, 2.5, 100.0, 30.0), 64, 24) == (0.0, 2.5, 64.0, 24.0)
    assert clip_box(SQUARE, 64, 24) == SQUARE
    assert clip_box((64.0, 0.0, 70.0, 24.0), 64, 24) is None
    assert clip_box((3.0, 8.0, 3.0, 9.0), 64, 24) is None


edges = st.integers(0, 12).map(float)
boxes = st.lists(
    st.tuples(edges, edges, edges, edges).map(lambda each: (each[0], each[1], each[0] + each[2], each[1] + each[3])),
    max_size=8,
)


@given(boxes, boxes, st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_pairs_of_boxes_are_those_that_a_loop_over_all_pairs_finds(
    first: list[Box], second: list[Box], least: float
) -> None:
    every = [(row, column) for row in range(len(first)) for column in range(len(second))]
    ious = {(row, column): box_iou(first[row], second[column]) for row, column in every}
    assert meeting_pairs(first, second) == [pair for pair in every if ious[pair] > 0]
    assert similar_pairs(first, second, least) == [pair for pair in every if ious[pair] >= least]
