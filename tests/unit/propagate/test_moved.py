from __future__ import annotations

import numpy as np
import pytest

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.propagate.moved import Move, moved_masks

WIDTH, HEIGHT = 100, 80
BOX: Box = (20.0, 30.0, 40.0, 50.0)


def ring() -> Mask:
    """A square with a hole, which fills its box."""
    bits = np.ones((20, 20), np.bool_)
    bits[6:14, 6:14] = False
    return Mask(20, 30, bits)


def moved(box: Box, mask: Mask | None = None, before: Box = BOX) -> Mask | None:
    return moved_masks([Move(mask or ring(), before, box)], WIDTH, HEIGHT)[0]


def pasted(mask: Mask | None) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    assert mask is not None and mask.inside(HEIGHT, WIDTH)
    assert mask.bits[0].any() and mask.bits[-1].any() and mask.bits[:, 0].any() and mask.bits[:, -1].any()
    return mask.paste(HEIGHT, WIDTH)


@pytest.mark.parametrize("right", [0.0, 0.4, 7.0, 7.4, -12.6])
def test_a_mask_moves_by_whole_pixels_and_keeps_its_bits(right: float) -> None:
    found = moved((20 + right, 25.0, 40 + right, 45.0))
    assert found is not None
    assert (found.x, found.y) == (20 + round(right), 25)
    np.testing.assert_array_equal(found.bits, ring().bits)


@pytest.mark.parametrize("factor", [2.0, 1.5, 0.5])
def test_a_mask_grows_and_shrinks_with_its_box(factor: float) -> None:
    side = 20 * factor
    found = pasted(moved((10.0, 10.0, 10 + side, 10 + side)))
    expected = np.zeros((HEIGHT, WIDTH), np.bool_)
    end = 10 + round(side)
    expected[10:end, 10:end] = True
    hole = slice(10 + round(6 * factor), 10 + round(14 * factor))
    expected[hole, hole] = False
    assert (found ^ expected).sum() <= 0.03 * expected.sum()


def test_what_leaves_its_box_moves_along() -> None:
    wide = Mask(10, 30, np.ones((20, 40), np.bool_))
    found = moved((30.0, 30.0, 70.0, 70.0), wide)
    assert found is not None and found.xyxy == (10.0, 30.0, 90.0, 70.0)


@pytest.mark.parametrize("scale", [1.0, 1.3])
@pytest.mark.parametrize(("left", "top"), [(-11.0, 30.0), (92.0, 30.0), (20.0, -7.0), (20.0, 71.0), (-9.0, -9.0)])
def test_a_mask_at_the_edge_is_cut_off_there(left: float, top: float, scale: float) -> None:
    box = (left, top, left + 20 * scale, top + 20 * scale)
    far = box[0] + 50, box[1] + 50, box[2] + 50, box[3] + 50
    large = moved_masks([Move(ring(), BOX, far)], 300, 300)[0]
    assert large is not None
    whole = large.paste(300, 300)[50 : 50 + HEIGHT, 50 : 50 + WIDTH]
    np.testing.assert_array_equal(pasted(moved(box)), whole)


def test_outside_the_frame_nothing_is_left() -> None:
    assert moved((-40.0, 30.0, -20.0, 50.0)) is None
    assert moved((20.0, 80.0, 40.0, 100.0)) is None
    assert moved((-12.0, -12.0, 8.0, 8.0), before=BOX) is not None


def test_a_box_without_area_neither_fails_nor_fills_the_memory() -> None:
    wide = Mask(0, 0, np.ones((HEIGHT, WIDTH), np.bool_))
    assert pasted(moved((0.0, 0.0, 8000.0, 8000.0), wide, (50.0, 40.0, 50.0, 40.0))).any()
    small = moved((50.0, 40.0, 50.0, 40.0), wide)
    assert small is not None and small.area <= 30


def test_masks_move_together_as_each_moves_alone() -> None:
    random = np.random.default_rng(0)
    moves = []
    for scale in (1.0, 0.3, 0.9, 1.1, 2.5):
        for left, top in random.uniform(-40, 90, (20, 2)).tolist():
            moves.append(Move(ring(), BOX, (left, top, left + 20 * scale, top + 20.4 * scale)))
    together = moved_masks(moves, WIDTH, HEIGHT)
    for move, found in zip(moves, together, strict=True):
        alone = moved_masks([move], WIDTH, HEIGHT)[0]
        assert (found is None) == (alone is None)
        if found is not None and alone is not None:
            np.testing.assert_array_equal(pasted(found), pasted(alone))
    assert moved_masks([], WIDTH, HEIGHT) == []
