"""Polygons around masks are simple, and filling them gives the mask again, with each reader's library."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw
from pycocotools import mask as coco_masks
from support.blobs import blobs

from streamseg.rings import AROUND_CENTRES, TO_ROUND, Bits, Placement, Polygon, cut_open, outer_rings

Signs = NDArray[np.int64]


def is_simple(polygon: Polygon) -> bool:
    """Whether no two sides meet, except neighbours in their common corner."""
    corners = np.round(polygon * 100).astype(np.int64)
    count = len(corners)
    start, end = corners, np.roll(corners, -1, axis=0)
    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    meet = (
        ((_turn(a, b, c) != _turn(a, b, d)) & (_turn(c, d, a) != _turn(c, d, b)))
        | _between(a, b, c)
        | _between(a, b, d)
        | _between(c, d, a)
        | _between(c, d, b)
    )
    apart = (np.arange(count)[None] - np.arange(count)[:, None]) % count
    return count >= 3 and not meet[(apart > 1) & (apart < count - 1)].any()


def _turn(a: Signs, b: Signs, c: Signs) -> Signs:
    """Whether the way from a over b to c turns right (1), left (-1) or not (0)."""
    turn: Signs = np.sign((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0])
    return turn


def _between(a: Signs, b: Signs, c: Signs) -> NDArray[np.bool_]:
    """Whether c lies on the side from a to b."""
    within = (np.minimum(a, b) <= c) & (c <= np.maximum(a, b))
    on: NDArray[np.bool_] = (_turn(a, b, c) == 0) & within.all(axis=-1)
    return on


def area(polygon: Polygon) -> float:
    x, y = polygon.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def parts_of(bits: Bits) -> list[Bits]:
    count, labels = cv2.connectedComponents(bits.astype(np.uint8), connectivity=4)
    return [labels == part for part in range(1, count)]


def by_opencv(polygon: Polygon, shape: tuple[int, ...]) -> Bits:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
    return canvas > 0


def by_pillow(polygon: Polygon, shape: tuple[int, ...]) -> Bits:
    canvas = PilImage.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in polygon.tolist()], fill=1, outline=1)
    return np.asarray(canvas) > 0


def by_pycocotools(polygon: Polygon, shape: tuple[int, ...]) -> Bits:
    [runs] = coco_masks.frPyObjects([polygon.ravel().tolist()], *shape)
    return np.asarray(coco_masks.decode(runs), np.bool_)


def drawn(picture: str) -> Bits:
    return np.array([[pixel == "#" for pixel in row] for row in picture.split()])


def by_supervision(polygon: Polygon, shape: tuple[int, ...]) -> Bits:
    return by_opencv(np.round(polygon), shape)


FILLS: dict[Placement, tuple[Callable[[Polygon, tuple[int, ...]], Bits], ...]] = {
    AROUND_CENTRES: (by_opencv, by_pillow, by_pycocotools),
    TO_ROUND: (by_opencv, by_pillow, by_supervision),
}


@pytest.mark.parametrize("placement", FILLS)
@given(bits=blobs())
@settings(max_examples=50)
def test_each_part_becomes_a_simple_polygon_that_readers_fill_alike(placement: Placement, bits: Bits) -> None:
    polygons = cut_open(bits, 0, 0, placement, 1)
    assert all(is_simple(polygon) and area(polygon) > 0 for polygon in polygons)
    expected = sorted(part.tobytes() for part in parts_of(bits))
    for fill in FILLS[placement]:
        assert sorted(fill(polygon, bits.shape).tobytes() for polygon in polygons) == expected


@given(blobs())
@settings(max_examples=30)
def test_outer_rings_cover_the_holes(bits: Bits) -> None:
    polygons = outer_rings(bits, 0, 0, AROUND_CENTRES)
    assert len(polygons) == len(parts_of(bits))
    assert all(is_simple(polygon) for polygon in polygons)
    covered = np.zeros(bits.shape, np.uint8)
    outlines, _ = cv2.findContours(bits.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(covered, outlines, -1, 1, cv2.FILLED)
    filled = np.logical_or.reduce([by_pycocotools(polygon, bits.shape) for polygon in polygons])
    # Parts that touch at corners may enclose pixels; no part alone covers them.
    assert not (bits & ~filled).any() and not (filled & (covered == 0)).any()


@pytest.mark.parametrize(
    ("picture", "corners"),
    [
        ("#", 4),
        ("####", 6),
        ("## ##", 8),
        (".#. ### .#.", 4),
        ("### #.# ###", 14),
    ],
    ids=["pixel", "row", "square", "cross", "ring"],
)
def test_small_shapes(picture: str, corners: int) -> None:
    bits = drawn(picture)
    [polygon] = cut_open(bits, 5, 7, AROUND_CENTRES, 1)
    assert is_simple(polygon)
    whole = np.pad(bits, ((7, 1), (5, 1)))
    assert np.array_equal(by_pycocotools(polygon, whole.shape), whole)
    assert len(polygon) == corners


def test_a_pixel_is_a_square_on_its_corner() -> None:
    [polygon] = outer_rings(drawn("#"), 3, 2, AROUND_CENTRES)
    assert sorted(polygon.tolist()) == [[3.1, 2.5], [3.5, 2.1], [3.5, 2.9], [3.9, 2.5]]


def test_corners_on_a_straight_line_are_dropped() -> None:
    [polygon] = outer_rings(np.ones((40, 60), np.bool_), 0, 0, TO_ROUND)
    assert len(polygon) == 8


def test_small_parts_are_left_out_except_for_the_largest() -> None:
    bits = drawn("####..#.# ####....# ####...##")
    for smallest, count in ((1, 3), (4, 2), (5, 1), (100, 1)):
        polygons = cut_open(bits, 0, 0, TO_ROUND, smallest)
        assert len(polygons) == count
        assert np.array_equal(polygons[0].astype(int).max(axis=0), (3, 2))
