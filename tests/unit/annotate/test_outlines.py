"""Filling the polygons restores the mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.blobs import LONGEST_SIDE, blobs

from streamseg.annotate.outlines import WITHIN_PIXEL, Corners, outline
from streamseg.masks import Bits, Mask


def filled(polygon: NDArray[np.generic], shape: tuple[int, int]) -> Bits:
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
    return canvas > 0


def parts_of(bits: Bits) -> list[Bits]:
    count, labels = cv2.connectedComponents(bits.astype(np.uint8), connectivity=8)
    return [labels == part for part in range(1, count)]


def shortest_bridges(bits: Bits) -> int:
    """Pixels of the shortest lines that join all parts, by trying all pairs of pixels."""
    parts = [np.argwhere(part) for part in parts_of(bits)]
    joined, rest = [parts[0]], parts[1:]
    pixels = 0
    while rest:
        reached = np.concatenate(joined)
        steps = [np.abs(reached[:, None] - part[None]) for part in rest]
        nearest = min(range(len(rest)), key=lambda place: float((steps[place] ** 2).sum(axis=2).min()))
        lengths = (steps[nearest] ** 2).sum(axis=2)
        pixels += int(steps[nearest][lengths == lengths.min()].max(axis=1).max()) - 1
        joined.append(rest.pop(nearest))
    return pixels


@given(blobs())
@settings(max_examples=400)
def test_filling_the_outline_gives_the_mask_and_the_bridges(bits: Bits) -> None:
    mask = Mask.crop(bits)
    assert mask is not None
    polygon = outline(mask)
    again = filled(polygon, bits.shape)
    assert len(polygon) >= 3
    assert not (bits & ~again).any()
    # The nearest pixels are found by a distance transform, which is right to a few hundredths.
    assert (again & ~bits).sum() <= 1.1 * shortest_bridges(bits) + 1
    if len(parts_of(bits)) == 1:
        assert np.array_equal(again, bits)


@given(blobs(), st.integers(LONGEST_SIDE, 9000))
@settings(max_examples=100)
def test_corners_survive_rounding_and_truncation(bits: Bits, width: int) -> None:
    mask = Mask.crop(bits)
    assert mask is not None
    polygon = outline(mask)
    shares = np.array(
        [[float(f"{share:.7f}") for share in row] for row in (polygon + WITHIN_PIXEL) / width], np.float32
    )
    pixels = shares * np.float32(width)
    assert np.array_equal(np.round(pixels), polygon)
    assert np.array_equal(np.trunc(pixels), polygon)


def drawn(picture: str) -> Bits:
    return np.array([[pixel == "#" for pixel in row] for row in picture.split()])


@pytest.mark.parametrize(
    "picture",
    [
        "#",
        "###",
        "# # #".replace(" ", "\n"),
        "#.. .#. ..#",
        "### #.# ###",
        "##### #...# #.#.# #...# #####",
        "####### #.....# #.###.# #.#.#.# #.###.# #.....# #######",
        "..#.. .#.#. ..#..",
        "######## #.##.### #.##.### ########",
    ],
    ids=["pixel", "row", "column", "diagonal", "ring", "island in a ring", "ring in a ring", "diamond", "two holes"],
)
def test_small_shapes(picture: str) -> None:
    bits = drawn(picture)
    mask = Mask.crop(bits, 5, 7)
    assert mask is not None
    shape = (bits.shape[0] + 9, bits.shape[1] + 9)
    whole = np.zeros(shape, np.bool_)
    whole[7 : 7 + bits.shape[0], 5 : 5 + bits.shape[1]] = bits
    assert len(outline(mask)) >= 3
    if len(parts_of(bits)) == 1:
        assert np.array_equal(filled(outline(mask), shape), whole)


def test_two_parts_are_joined_by_the_shortest_line() -> None:
    bits = drawn("##........# ##........# ##........#")
    mask = Mask.crop(bits)
    assert mask is not None
    again = filled(outline(mask), bits.shape)
    assert (again & ~bits).sum() == 8
    assert (again & ~bits).any(axis=1).sum() == 1


def test_corners_on_a_straight_line_are_dropped() -> None:
    mask = Mask.crop(np.ones((40, 60), np.bool_))
    assert mask is not None
    corners: Corners = outline(mask)
    assert sorted(map(tuple, corners.tolist())) == [(0, 0), (0, 39), (59, 0), (59, 39)]
