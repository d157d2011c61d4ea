from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.drawn_photographs import ellipse_bits, mask_of, rectangle_bits

from streamseg.geometry import Box
from streamseg.masks import Bits, Mask
from streamseg.messages import Image
from streamseg.window import MARGIN, Window, box_plane, crop, mask_plane, paste, point_plane, window_around

Plane = NDArray[np.float32]
SIDE = 96


def around(box: Box, width: int, height: int) -> Window:
    window = window_around(box, width, height)
    assert window is not None
    return window


def shown(bits: Bits) -> Image:
    """A white object on black."""
    return np.repeat(bits[..., None], 3, axis=2).astype(np.uint8) * np.uint8(255)


def there_and_back(bits: Bits, window: Window) -> Mask:
    """What is left of an object that the network sees and answers exactly as it sees it."""
    height, width = bits.shape
    mask = paste(crop(shown(bits), window, SIDE)[..., 0].astype(np.float32) - 127.5, window, width, height)
    assert mask is not None
    return mask


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """Width and height of a frame, and a rectangle of whole pixels in it."""
    width, height = draw(st.integers(20, 500)), draw(st.integers(20, 500))
    left, top = draw(st.integers(0, width - 12)), draw(st.integers(0, height - 12))
    return width, height, (left, top, draw(st.integers(left + 12, width)), draw(st.integers(top + 12, height)))


@given(rectangles())
@settings(max_examples=150)
def test_crop_and_paste_keep_the_edges_of_a_rectangle_within_half_a_pixel(
    scene: tuple[int, int, tuple[int, int, int, int]],
) -> None:
    width, height, box = scene
    window = around(box, width, height)
    bits = rectangle_bits(height, width, *box)
    answers = [paste(mask_plane(mask_of(bits), window, SIDE) - 0.5, window, width, height)]
    if window.left >= 0 and window.top >= 0 and window.right <= width and window.bottom <= height:
        answers.append(there_and_back(bits, window))
    for mask in answers:
        assert mask is not None
        for edge, true, side in zip(mask.xyxy, box, (window.width, window.height) * 2, strict=True):
            assert abs(edge - true) <= 0.5 * max(1.0, side / SIDE)


@pytest.mark.parametrize("side", [16, 40, 66, 96, 140, 260])
def test_crop_and_paste_keep_the_edges_of_a_rectangle_on_the_grid(side: int) -> None:
    box = (41, 53, 41 + side, 53 + side + 3)
    mask = there_and_back(rectangle_bits(400, 380, *box), around(box, 380, 400))
    assert mask.xyxy == box


@pytest.mark.parametrize("radius", [12, 30, 46, 90, 170])
@pytest.mark.parametrize("centre", [(200.0, 180.0), (201.3, 177.6)])
def test_crop_and_paste_keep_an_ellipse_except_for_its_border(radius: int, centre: tuple[float, float]) -> None:
    bits = ellipse_bits(380, 400, centre, (radius, 0.8 * radius))
    again = there_and_back(bits, around(mask_of(bits).xyxy, 400, 380)).paste(380, 400)
    kernel = np.ones((3, 3), np.uint8)
    inner, outer = (operation(bits.astype(np.uint8), kernel) > 0 for operation in (cv2.erode, cv2.dilate))
    assert not (inner & ~again).any() and not (again & ~outer).any()
    assert mask_of(again).iou(mask_of(bits)) > 0.94


@pytest.mark.parametrize(
    "window", [Window(10, 5, 40, 29), Window(7, 9, 103, 105), Window(3, 2, 150, 118), Window(20, 4, 80, 112)]
)
def test_a_point_of_the_frame_follows_the_documented_mapping(window: Window) -> None:
    x, y = np.arange(160) + 0.5, np.arange(120) + 0.5
    for slope_x, slope_y in ((1.5, 0.0), (0.0, 2.0), (0.8, 0.9)):
        ramp = np.repeat((slope_y * y[:, None] + slope_x * x)[..., None], 3, axis=2).round().astype(np.uint8)
        seen = crop(ramp, window, SIDE)
        assert seen.shape == (SIDE, SIDE, 3) and seen.dtype == np.uint8
        places = (np.arange(SIDE) + 0.5) / SIDE
        expected = slope_y * (window.top + places[:, None] * window.height) + slope_x * (
            window.left + places * window.width
        )
        # Beyond the centres of the outermost pixels there is nothing to interpolate with.
        wrong = (seen[..., 0] - expected)[3:-3, 3:-3]
        assert abs(wrong).max() < 1.6
        assert abs(wrong.mean()) < 0.2


def test_pixels_outside_the_frame_are_grey() -> None:
    window = Window(-20, -10, 28, 38)
    seen = crop(np.full((30, 40, 3), 250, np.uint8), window, SIDE)
    assert (seen[:18] == 127).all() and (seen[:, :38] == 127).all() and (seen[82:] == 127).all()
    assert (seen[22:78, 42:] == 250).all()


def test_a_grey_frame_can_be_cropped_too() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 70), np.uint8)
    window = Window(-5, 3, 60, 58)
    assert np.array_equal(crop(frame, window, SIDE), crop(np.repeat(frame[..., None], 3, axis=2), window, SIDE)[..., 0])


def test_a_window_has_a_margin_around_its_box() -> None:
    window = around((100.0, 200.0, 180.0, 260.0), 1000, 1000)
    assert MARGIN == 0.2
    assert (window.left, window.top, window.right, window.bottom) == pytest.approx((84, 188, 196, 272), abs=1)


@given(
    st.tuples(*[st.floats(-300, 600, allow_nan=False)] * 2),
    st.tuples(*[st.floats(0.01, 500, allow_nan=False)] * 2),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_a_window_is_the_smallest_with_margins_and_within_the_limits(
    corner: tuple[float, float], size: tuple[float, float], width: int, height: int
) -> None:
    box = (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    left, top, right, bottom = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
    window = window_around(box, width, height)
    if right <= left or bottom <= top:
        assert window is None
        return
    assert window is not None
    wide, high = 1.4 * (right - left), 1.4 * (bottom - top)
    wide, high = max(wide, high / 2, 8), max(high, wide / 2, 8)
    slack = 1e-6
    for first, last, needed, middle in (
        (window.left, window.right, wide, (left + right) / 2),
        (window.top, window.bottom, high, (top + bottom) / 2),
    ):
        assert middle - needed / 2 - 1 - slack <= first <= middle - needed / 2 + slack
        assert middle + needed / 2 - slack <= last <= middle + needed / 2 + 1 + slack
    assert window.width >= 8 and window.height >= 8
    assert window.width <= 2 * window.height + 2 and window.height <= 2 * window.width + 2
    assert window == window_around((left, top, right, bottom), width, height)


def test_a_long_box_gets_a_larger_margin_instead_of_being_stretched() -> None:
    window = around((100.0, 300.0, 400.0, 310.0), 1000, 1000)
    assert (window.left, window.top, window.right, window.bottom) == pytest.approx((40, 200, 460, 410), abs=1)
    window = around((300.0, 100.0, 310.0, 400.0), 1000, 1000)
    assert (window.left, window.top, window.right, window.bottom) == pytest.approx((200, 40, 410, 460), abs=1)


def test_the_smallest_window_has_eight_pixels() -> None:
    window = around((50.0, 60.0, 51.0, 61.0), 200, 200)
    assert (window.width, window.height) == (9, 9)
    assert window.left <= 46.5 and window.right >= 54.5


@pytest.mark.parametrize(
    "box",
    [
        (-30.0, 5.0, 0.0, 20.0),
        (5.0, -30.0, 20.0, 0.0),
        (100.0, 5.0, 130.0, 20.0),
        (5.0, 80.0, 20.0, 90.0),
        (300.0, 300.0, 320.0, 330.0),
        (40.0, 40.0, 40.0, 60.0),
        (60.0, 40.0, 40.0, 60.0),
    ],
)
def test_a_box_outside_the_frame_or_of_no_area_has_no_window(box: Box) -> None:
    assert window_around(box, 100, 80) is None


def test_only_the_part_of_a_box_inside_the_frame_counts() -> None:
    window = around((-1e9, 10.0, 50.0, 1e9), 100, 80)
    assert window == around((0.0, 10.0, 50.0, 80.0), 100, 80)
    assert window.left < 0 and window.bottom > 80


def boxes_of(side: float) -> st.SearchStrategy[Box]:
    edges = st.floats(0, side, allow_nan=False, width=32)
    return st.tuples(edges, edges, edges, edges).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    )


@given(boxes_of(40), st.integers(8, 300), st.integers(8, 300))
def test_a_box_plane_sums_to_the_area_of_the_box(box: Box, width: int, height: int) -> None:
    window = Window(-7, 3, -7 + width, 3 + height)
    inside_x = max(0.0, min(box[2], window.right) - max(box[0], window.left)) / width * SIDE
    inside_y = max(0.0, min(box[3], window.bottom) - max(box[1], window.top)) / height * SIDE
    plane = box_plane(box, window, SIDE)
    assert plane.shape == (SIDE, SIDE) and plane.dtype == np.float32
    assert plane.min() >= 0 and plane.max() <= 1 + 1e-6
    assert plane.sum(dtype=np.float64) == pytest.approx(inside_x * inside_y, abs=0.01)


def test_box_edges_between_pixels_cover_them_in_part() -> None:
    plane = box_plane((10.25, 20.5, 30.75, 40.0), Window(0, 0, SIDE, SIDE), SIDE)
    assert plane[30, 9:12].tolist() == [0, 0.75, 1]
    assert plane[30, 29:32].tolist() == [1, 0.75, 0]
    assert plane[19:22, 20].tolist() == [0, 0.5, 1]
    assert plane[39:41, 20].tolist() == [1, 0]
    assert plane[20, 10] == 0.375
    assert box_plane((10.25, 20.0, 10.5, 40.0), Window(0, 0, SIDE, SIDE), SIDE)[30, 9:12].tolist() == [0, 0.25, 0]


def test_a_box_around_the_window_covers_all_of_it_and_one_beside_it_none() -> None:
    window = Window(20, 20, 60, 60)
    assert (box_plane((-1e9, -1e9, 1e9, 1e9), window, SIDE) == 1).all()
    for box in ((70.0, 20.0, 90.0, 60.0), (0.0, 20.0, 20.0, 60.0), (50.0, 30.0, 30.0, 50.0)):
        assert not box_plane(box, window, SIDE).any()


@given(rectangles())
@settings(max_examples=80)
def test_a_rectangular_mask_has_the_plane_of_its_box(scene: tuple[int, int, tuple[int, int, int, int]]) -> None:
    width, height, box = scene
    window = around(box, width, height)
    plane, of_box = mask_plane(mask_of(rectangle_bits(height, width, *box)), window, SIDE), box_plane(box, window, SIDE)
    assert plane.shape == of_box.shape and plane.dtype == np.float32
    assert plane.min() > -1e-5 and plane.max() < 1 + 1e-5
    if window.width >= SIDE and window.height >= SIDE:
        assert abs(plane - of_box).max() < 1e-3
    assert abs(centre_of(plane) - centre_of(of_box)).max() < 0.5
    assert plane.sum() == pytest.approx(of_box.sum(), rel=0.15)


def centre_of(plane: Plane) -> NDArray[np.float64]:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    return np.array((np.average(x, weights=plane), np.average(y, weights=plane)))


def test_a_mask_plane_covers_only_the_window() -> None:
    mask = mask_of(rectangle_bits(300, 300, 50, 60, 250, 260))
    inside = mask_plane(mask, Window(100, 100, 200, 200), SIDE)
    assert np.allclose(inside, 1)
    partly = mask_plane(mask, Window(-46, 12, 146, 204), SIDE)
    assert np.allclose(partly, box_plane(mask.xyxy, Window(-46, 12, 146, 204), SIDE), atol=1e-4)
    for beside in (
        Window(260, 100, 290, 130),
        Window(100, 270, 130, 290),
        Window(-40, 100, 50, 190),
        Window(100, -40, 190, 60),
    ):
        assert not mask_plane(mask, beside, SIDE).any()


def test_paste_cuts_a_mask_at_the_frame() -> None:
    everywhere = np.ones((SIDE, SIDE), np.float32)
    for window, box in (
        (Window(-30, -20, 130, 100), (0, 0, 100, 80)),
        (Window(-30, 10, 20, 40), (0, 10, 20, 40)),
        (Window(90, 70, 150, 120), (90, 70, 100, 80)),
        (Window(20, 30, 28, 38), (20, 30, 28, 38)),
    ):
        mask = paste(everywhere, window, 100, 80)
        assert mask is not None
        assert mask.bits.all()
        assert mask.xyxy == box


def test_pasting_negative_logits_gives_none() -> None:
    nowhere = np.full((SIDE, SIDE), -3.0, np.float32)
    assert paste(nowhere, Window(10, 10, 50, 50), 100, 80) is None
    assert paste(np.zeros((SIDE, SIDE), np.float32), Window(10, 10, 50, 50), 100, 80) is None
    outside = nowhere.copy()
    outside[:, :40] = 3
    assert paste(outside, Window(-50, 10, 50, 50), 100, 80) is None


def test_a_point_is_highest_where_the_window_shows_it() -> None:
    window = Window(-20, 10, 172, 58)  # four pixels of the frame across for one down
    plane = point_plane([(31.0, 34.25)], window, SIDE)
    assert plane.shape == (SIDE, SIDE) and plane.dtype == np.float32
    assert np.argwhere(plane == plane.max()).tolist() == [[48, 25]] and plane.max() == pytest.approx(1)
    assert np.allclose(plane[48, 25 - 4 : 25 + 5 : 4], np.exp([-0.5, 0, -0.5]), atol=1e-5)
    assert np.allclose(plane[48 - 8 : 48 + 9 : 8, 25], np.exp([-2, 0, -2]), atol=1e-5)


def test_several_points_share_a_plane_and_none_leave_it_empty() -> None:
    window = Window(0, 0, SIDE, SIDE)
    points = [(10.5, 20.5), (60.5, 20.5), (500.0, 20.5)]
    separate = [point_plane([point], window, SIDE) for point in points]
    assert np.array_equal(point_plane(points, window, SIDE), np.maximum.reduce(separate))
    assert not point_plane([], window, SIDE).any()
    assert separate[2].max() < 1e-6
