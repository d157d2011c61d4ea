from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.box_warp import carry
from streamseg.geometry import Box
from streamseg.masks import Mask

WIDTH, HEIGHT = 64, 48


def disc(x: int, y: int, radius: int) -> Mask:
    rows, columns = np.ogrid[: 2 * radius, : 2 * radius]
    mask = Mask.crop((rows - radius + 0.5) ** 2 + (columns - radius + 0.5) ** 2 <= radius**2, x - radius, y - radius)
    assert mask is not None
    return mask


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    width, height = draw(st.integers(1, WIDTH - x)), draw(st.integers(1, HEIGHT - y))
    bits = np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < 0.5
    bits[0, 0] = bits[-1, -1] = True
    mask = Mask.crop(bits, x, y)
    assert mask is not None
    return mask


coordinates = st.floats(-200, 200)
boxes = st.tuples(coordinates, coordinates, coordinates, coordinates)
extremes = st.floats(allow_nan=True, allow_infinity=True)


@given(masks(), boxes, boxes)
def test_never_leaves_the_frame(mask: Mask, from_box: Box, to_box: Box) -> None:
    carried = carry(mask, from_box, to_box, WIDTH, HEIGHT)
    if carried is not None:
        assert carried.inside(HEIGHT, WIDTH)
        assert carried.area == carried.paste(HEIGHT, WIDTH).sum() > 0


@given(masks(), st.tuples(extremes, extremes, extremes, extremes), st.tuples(extremes, extremes, extremes, extremes))
def test_any_numbers_give_a_mask_in_the_frame_or_none(mask: Mask, from_box: Box, to_box: Box) -> None:
    carried = carry(mask, from_box, to_box, WIDTH, HEIGHT)
    assert carried is None or carried.inside(HEIGHT, WIDTH)


@given(masks(), st.tuples(st.floats(0, 30), st.floats(0, 20), st.floats(31, 64), st.floats(21, 48)))
def test_the_same_box_leaves_the_mask_as_it_is(mask: Mask, box: Box) -> None:
    carried = carry(mask, box, box, WIDTH, HEIGHT)
    assert carried is not None
    assert (carried.x, carried.y) == (mask.x, mask.y)
    assert np.array_equal(carried.bits, mask.bits)


@given(st.integers(-8, 8), st.integers(-8, 8))
def test_a_shifted_box_shifts_the_mask(dx: int, dy: int) -> None:
    mask = disc(32, 24, 8)
    carried = carry(mask, (24, 16, 40, 32), (24 + dx, 16 + dy, 40 + dx, 32 + dy), WIDTH, HEIGHT)
    assert carried is not None
    assert (carried.x, carried.y) == (mask.x + dx, mask.y + dy)
    assert np.array_equal(carried.bits, mask.bits)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2.0, 3.0])
def test_a_grown_box_grows_the_mask(factor: float) -> None:
    radius = round(16 * factor)
    carried = carry(
        disc(100, 100, 16), (84, 84, 116, 116), (100 - radius, 100 - radius, 100 + radius, 100 + radius), 200, 200
    )
    assert carried is not None
    assert carried.iou(disc(100, 100, radius)) > 0.93


def test_a_mask_that_leaves_its_box_is_scaled_about_the_box() -> None:
    carried = carry(disc(20, 20, 8), (16, 16, 24, 24), (56, 46, 72, 62), 200, 200)
    assert carried is not None
    assert carried.xyxy == pytest.approx((48, 38, 80, 70), abs=1)


def test_what_leaves_the_frame_is_cut() -> None:
    carried = carry(disc(32, 24, 8), (24, 16, 40, 32), (-8, 16, 8, 32), WIDTH, HEIGHT)
    assert carried is not None
    assert (carried.x, carried.width) == (0, 8)
    assert carry(disc(32, 24, 8), (24, 16, 40, 32), (-40, 16, -24, 32), WIDTH, HEIGHT) is None


def test_a_box_shrunk_to_almost_nothing_gives_at_most_a_pixel() -> None:
    for to_box in [(10.4, 10.4, 10.4 + 1e-14, 10.6), (0.0, 0.0, 1e-322, 10.0), (10.4, 10.4, 10.6, 10.6)]:
        carried = carry(disc(32, 24, 8), (24, 16, 40, 32), to_box, WIDTH, HEIGHT)
        assert carried is None or carried.area == 1


@pytest.mark.parametrize(("shift", "pixels"), [(-0.6, -1), (-0.4, 0), (0.4, 0), (0.6, 1)])
def test_a_shift_is_rounded_to_the_nearest_pixel(shift: float, pixels: int) -> None:
    carried = carry(disc(32, 24, 8), (24, 16, 40, 32), (24 + shift, 16 + shift, 40 + shift, 32 + shift), WIDTH, HEIGHT)
    assert carried is not None
    assert (carried.x, carried.y) == (24 + pixels, 16 + pixels)
    assert np.array_equal(carried.bits, disc(32, 24, 8).bits)


@pytest.mark.parametrize(
    "box", [(10, 10, 10, 20), (10, 20, 30, 20), (30, 10, 10, 20), (10, 10, math.nan, 20), (10, 10, math.inf, 20)]
)
def test_a_box_without_area_gives_none(box: Box) -> None:
    good = (24.0, 16.0, 40.0, 32.0)
    assert carry(disc(32, 24, 8), box, good, WIDTH, HEIGHT) is None
    assert carry(disc(32, 24, 8), good, box, WIDTH, HEIGHT) is None
