from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from streamseg.masks import Mask
from streamseg.rings import TO_ROUND

Bits = NDArray[np.bool_]


@st.composite
def frames(draw: st.DrawFn) -> Bits:
    """A frame with at least one pixel set: noise, or a rectangle that may touch any of its edges."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if draw(st.booleans()):
        full = draw(arrays(np.bool_, (height, width)))
    else:
        full = np.zeros((height, width), dtype=np.bool_)
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        full[top : draw(st.integers(top + 1, height)), left : draw(st.integers(left + 1, width))] = True
    full[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return full


def cropped(full: Bits) -> Mask:
    mask = Mask.crop(full)
    assert mask is not None
    return mask


def coco_counts(full: Bits) -> str:
    encoded: Any = coco.encode(np.asfortranarray(full.astype(np.uint8)))
    return str(encoded["counts"].decode("ascii"))


@given(frames())
@settings(max_examples=300)
def test_rle_equals_that_of_pycocotools(full: Bits) -> None:
    assert cropped(full).rle(*full.shape)["counts"] == coco_counts(full)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (480, 640)])
def test_rle_of_a_full_frame(size: tuple[int, int]) -> None:
    full = np.ones(size, dtype=np.bool_)
    assert cropped(full).rle(*size)["counts"] == coco_counts(full)


def test_rle_of_the_largest_frame() -> None:
    full = np.zeros((8192, 8192), dtype=np.bool_)
    full[8191, 8191] = full[0, 0] = True
    assert cropped(full).rle(8192, 8192)["counts"] == coco_counts(full)


def test_rle_cuts_off_pixels_outside_the_frame() -> None:
    mask = Mask(3, 2, np.ones((4, 4), dtype=np.bool_))
    assert mask.rle(4, 5)["counts"] == coco_counts(mask.paste(4, 5))
    assert mask.rle(2, 3)["counts"] == coco_counts(np.zeros((2, 3), dtype=np.bool_))


@pytest.mark.parametrize("below", [0, 3])
def test_rle_of_noise_takes_little_memory(below: int) -> None:
    bits = np.random.default_rng(0).random((1024, 1024)) < 0.5
    full = np.pad(bits, ((0, below), (0, 2)))
    tracemalloc.start()
    counts = Mask(0, 0, bits).rle(*full.shape)["counts"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts == coco_counts(full)
    assert peak < 25_000_000


def test_a_short_rle_is_that_of_the_mask_or_none() -> None:
    mask = Mask(0, 0, np.indices((40, 40)).sum(axis=0) % 2 == 1)
    rle = mask.rle(41, 41)
    assert mask.short_rle(41, 41, len(rle["counts"])) == rle
    assert mask.short_rle(41, 41, len(rle["counts"]) - 1) is None


@given(frames())
def test_rle_does_not_need_a_tight_rectangle(full: Bits) -> None:
    assert Mask(0, 0, full).rle(*full.shape)["counts"] == coco_counts(full)


@given(frames())
def test_crop_is_tight_and_paste_undoes_it(full: Bits) -> None:
    mask = cropped(full)
    assert np.array_equal(mask.paste(*full.shape), full)
    assert mask.bits[0].any() and mask.bits[-1].any() and mask.bits[:, 0].any() and mask.bits[:, -1].any()


def test_an_empty_mask_crops_to_none() -> None:
    assert Mask.crop(np.zeros((3, 4), dtype=np.uint8)) is None


@given(frames())
def test_unpack_undoes_pack(full: Bits) -> None:
    mask = cropped(full)
    packed = mask.pack()
    assert packed == np.packbits(mask.bits, axis=1).tobytes()
    again = Mask.unpack(mask.x, mask.y, mask.width, mask.height, packed)
    assert np.array_equal(again.bits, mask.bits)


def test_pack_puts_the_first_pixel_into_the_most_significant_bit_and_pads_each_row() -> None:
    bits = np.zeros((2, 9), dtype=np.bool_)
    bits[0, 0] = bits[0, 8] = bits[1, 7] = True
    assert Mask(0, 0, bits).pack() == bytes([0b10000000, 0b10000000, 0b00000001, 0])


@pytest.mark.parametrize(("width", "height", "size"), [(9, 2, 3), (9, 2, 5), (0, 2, 0), (8, -1, 1)])
def test_unpack_rejects_a_wrong_number_of_bytes(width: int, height: int, size: int) -> None:
    with pytest.raises(ValueError, match="do not hold a mask"):
        Mask.unpack(0, 0, width, height, bytes(size))


@given(frames(), frames())
def test_iou_equals_that_of_whole_frames(first: Bits, second: Bits) -> None:
    size = (40, 40)
    one, two = Mask(2, 1, first), Mask(0, 3, second)
    whole_one, whole_two = one.paste(*np.add(size, 8)), two.paste(*np.add(size, 8))
    expected = np.count_nonzero(whole_one & whole_two) / np.count_nonzero(whole_one | whole_two)
    assert one.iou(two) == pytest.approx(expected)


def test_polygons_are_in_frame_coordinates_one_per_part() -> None:
    full = np.zeros((20, 30), dtype=np.bool_)
    full[2:6, 3:9] = True
    full[10:15, 20:28] = True
    outlines = cropped(full).polygons()
    corners = sorted(tuple(outline.min(axis=0).tolist() + outline.max(axis=0).tolist()) for outline in outlines)
    assert corners == [(3.05, 2.05, 8.45, 5.45), (20.05, 10.05, 27.45, 14.45)]
    assert all(outline.shape[1] == 2 for outline in outlines)


def test_a_thin_part_has_a_polygon_and_a_hole_is_covered_or_cut_open() -> None:
    full = np.zeros((20, 30), dtype=np.bool_)
    full[2:9, 3:10] = True
    full[4:7, 5:8] = False
    full[12, 3:20] = True
    mask = cropped(full)
    assert len(mask.polygons()) == len(mask.polygons_without_holes(TO_ROUND)) == 2
    assert len(mask.polygons_without_holes(TO_ROUND, smallest=18)) == 1
    for polygons, hole in ((mask.polygons(), 1), (mask.polygons_without_holes(TO_ROUND), 0)):
        canvas = np.zeros(full.shape, np.uint8)
        for polygon in polygons:
            cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
        assert canvas[5, 6] == hole
        canvas[4:7, 5:8] = 0
        assert np.array_equal(canvas > 0, full)


@pytest.mark.parametrize(
    ("x", "y", "bits"),
    [
        (-1, 0, np.ones((1, 1), dtype=np.bool_)),
        (0, 0, np.ones((0, 3), dtype=np.bool_)),
        (0, 0, np.ones(3, dtype=np.bool_)),
        (0, 0, np.ones((2, 2))),
    ],
)
def test_a_mask_is_a_rectangle_inside_the_frame(x: int, y: int, bits: Any) -> None:
    with pytest.raises(ValueError, match="mask"):
        Mask(x, y, bits)
