from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from support.moving_scenes import background

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.propagate.crop import (
    FLOW_SIDE,
    Flow,
    FlowFinder,
    Motion,
    ObjectCrop,
    crop_objects,
    enlarged,
    resized,
    sampled,
)
from streamseg.propagate.keyframe_mask import TEMPLATE_SIDE

BOX = (150.0, 100.0, 288.0, 238.0)


def crop_at(image: Image, box: Box, side: int) -> ObjectCrop:
    (crop,) = crop_objects(image, [box], side)
    assert crop is not None
    return crop


def flow_between(before: ObjectCrop, after: ObjectCrop, guess: Motion | None = None) -> Flow:
    return FlowFinder().between([before], [after], [guess])


def test_flow_is_the_displacement_to_the_earlier_crop() -> None:
    """The picture moves right by a twelfth of the square and down by a twenty-fourth; the window stays."""
    shown, moved = background(), np.roll(background(), (8, 16), (0, 1))
    before, after = crop_at(shown, BOX, 80), crop_at(moved, BOX, 80)
    flow = flow_between(before, after)
    assert flow.shape == (1, FLOW_SIDE, FLOW_SIDE, 2)
    middle = np.median(flow[0, 8:-8, 8:-8].reshape(-1, 2), axis=0) * (after.window.width, after.window.height)
    assert middle == pytest.approx((-16, -8), abs=0.7)


def test_a_guess_leads_flow_to_a_window_that_jumped() -> None:
    """The picture stands still and the box jumps by three tenths of its square, as boxes of a poor detector do."""
    shown = background()
    before, after = crop_at(shown, (150.0, 100.0, 250.0, 200.0), 80), crop_at(shown, (192.0, 100.0, 292.0, 200.0), 80)
    jumped = 42 / 140
    found, lost = (np.median(flow_between(before, after, guess)[0, 8:-8, 8:24, 0]) for guess in ((0.0, 0.0), None))
    assert found == pytest.approx(jumped, abs=0.01)
    assert abs(lost - jumped) > 0.05


def test_flow_depends_on_no_earlier_search() -> None:
    """Neither other sides nor other guesses in between change it, and a guess that is not finite does no harm."""
    shown, moved = background(), np.roll(background(), 6, 1)
    finder = FlowFinder()
    flows: dict[tuple[int, Motion | None], list[Flow]] = {}
    there, nowhere = (6.0, 0.0), (math.inf, 0.0)
    searches: list[tuple[int, Motion | None]] = [
        (80, there),
        (200, None),
        (120, there),
        (120, nowhere),
        (80, None),
        (200, there),
    ]
    for side, guess in searches * 2:
        found = finder.between([crop_at(shown, BOX, side)], [crop_at(moved, BOX, side)], [guess])
        flows.setdefault((side, guess), []).append(found)
    assert all(np.array_equal(first, other) for first, *others in flows.values() for other in others)


def test_crops_keep_the_places_of_their_boxes() -> None:
    outside = (-90.0, -90.0, -10.0, -10.0)
    other = (20.0, 20.0, 120.0, 120.0)
    crops = crop_objects(background(), [outside, BOX, outside, other], 80)
    assert [crop is None for crop in crops] == [True, False, True, False]
    for crop, box in zip(crops, (outside, BOX, outside, other), strict=True):
        if crop is not None:
            alone = crop_at(background(), box, 80)
            assert crop.box == box
            assert np.array_equal(crop.picture, alone.picture)
            assert cv2.absdiff(crop.grey, alone.grey).max() <= 1  # rounded


@pytest.mark.parametrize("side", [40, 80, 120, 200])
def test_squares_are_enlarged_together_as_alone(side: int) -> None:
    squares = np.random.default_rng(0).normal(size=(2, 3, FLOW_SIDE, FLOW_SIDE)).astype(np.float32)
    alone = resized(squares.reshape(-1, FLOW_SIDE, FLOW_SIDE), side)
    assert np.allclose(enlarged(squares, side).reshape(-1, side, side), alone, atol=1e-6)


@pytest.mark.parametrize("side", [40, 80, 200])
def test_a_square_is_sampled_at_its_places_in_any_resolution(side: int) -> None:
    """A step in the middle, sampled an eighth to the left, lies at five eighths."""
    plane = np.zeros((TEMPLATE_SIDE, TEMPLATE_SIDE), np.float32)
    plane[:, TEMPLATE_SIDE // 2 :] = 1
    x, y = np.full((1, side, side), -1 / 8, np.float32), np.zeros((1, side, side), np.float32)
    row = sampled([plane], x, y, TEMPLATE_SIDE)[0, side // 2]
    step = np.interp(0.5, row[side // 2 :], (np.arange(side // 2, side) + 0.5) / side)
    assert step == pytest.approx(5 / 8, abs=0.5 / side)
