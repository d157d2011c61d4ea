from __future__ import annotations

import numpy as np
import pytest
from support.drawn_photographs import ellipse_bits, mask_of, rectangle_bits

from streamseg.masks import Bits, Mask
from streamseg.train.points import beside_object, middle, on_object
from streamseg.window import Point, Window

HEIGHT, WIDTH = 200, 300


def masks() -> list[Mask]:
    ring = ellipse_bits(HEIGHT, WIDTH, (150, 100), (90, 80)) & ~ellipse_bits(HEIGHT, WIDTH, (150, 100), (60, 50))
    shapes = (
        ellipse_bits(HEIGHT, WIDTH, (80.5, 60.5), (40, 25)),
        ring,
        rectangle_bits(HEIGHT, WIDTH, 10, 100, 290, 101),
        rectangle_bits(HEIGHT, WIDTH, 0, 0, WIDTH, HEIGHT),
        rectangle_bits(HEIGHT, WIDTH, 7, 9, 8, 10),
    )
    return [mask_of(bits) for bits in shapes]


def covers(bits: Bits, point: Point) -> bool:
    return bool(bits[int(point[1]), int(point[0])])


@pytest.mark.parametrize("mask", masks())
def test_points_lie_on_the_object(mask: Mask) -> None:
    bits = mask.paste(HEIGHT, WIDTH)
    assert covers(bits, middle(mask))
    points = [on_object(mask, np.random.default_rng(seed)) for seed in range(60)]
    assert all(covers(bits, point) for point in points)
    assert len(set(points)) > (10 if mask.area > 100 else 0)


def test_the_middle_is_the_farthest_from_the_outline() -> None:
    whole, ring = masks()[3], masks()[1]
    assert middle(masks()[0]) == pytest.approx((80.5, 60.5), abs=1.5)
    assert middle(whole)[1] == pytest.approx(HEIGHT / 2, abs=1)
    assert abs(np.hypot((middle(ring)[0] - 150) / 75, (middle(ring)[1] - 100) / 65) - 1) < 0.1


def test_points_are_more_often_in_the_middle() -> None:
    points = np.array([on_object(masks()[0], np.random.default_rng(seed)) for seed in range(400)])
    from_middle = np.hypot((points[:, 0] - 80.5) / 40, (points[:, 1] - 60.5) / 25)
    # Evenly spread points would have a median of 0.71.
    assert np.median(from_middle) < 0.6 and from_middle.max() > 0.8


def test_a_point_beside_an_object_is_in_the_window_and_clear_of_it() -> None:
    covered = masks()[0].paste(HEIGHT, WIDTH).astype(np.uint8) * np.uint8(255)
    window = Window(-20, 30, 130, 95)
    points = [beside_object(covered, window, np.random.default_rng(seed)) for seed in range(200)]
    found = [point for point in points if point is not None]
    assert len(found) > 150
    for x, y in found:
        assert 0 <= x < window.right and window.top <= y < window.bottom
        column, row = int(x), int(y)
        assert not covered[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4].any()
    assert beside_object(np.full((50, 50), 255, np.uint8), Window(0, 0, 50, 50), np.random.default_rng(0)) is None
