from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamseg.masks import Mask
from streamseg.models.segmenters.mobile_sam.drawing import MaskDrawing
from streamseg.models.segmenters.resizing import Size, resized_size
from streamseg.models.segmenters.sam.embedding import restore
from streamseg.models.segmenters.sam.predictor import stability

Floats = NDArray[np.float32]

SIDE = 256
SIZES: list[Size] = [(720, 1280), (1280, 720), (333, 517), (1024, 1024), (2160, 3840), (7, 5), (1, 40), (600, 601)]


def blob(centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
    """Logits that fall from 6 at the centre (x, y), with a little noise, and are far below 0 elsewhere."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    noise = np.random.default_rng(0).normal(0, 0.3, (SIDE, SIDE))
    logits: Floats = (np.maximum(6 * (1 - distance), -12) + noise).astype(np.float32)
    return logits


def covering(resized: Size) -> Size:
    """As many of the logits' rows and columns as the picture's last pixels see."""
    return min(SIDE, -(-resized[0] // 4) + 1), min(SIDE, -(-resized[1] // 4) + 1)


def assert_as_restored(logits: Floats, original: Size) -> Mask | None:
    resized = resized_size(original)
    rows, columns = covering(resized)
    restored = restore(torch.from_numpy(logits)[None, None], resized, original)[0, 0]
    drawn = MaskDrawing.between((rows, columns), resized, original).draw(logits[:rows, :columns])
    expected = (restored > 0).numpy()
    if drawn is None:
        assert not expected.any()
        return None
    mask, steadiness = drawn
    differing = mask.paste(*original) != expected
    # The two steps in one round otherwise, which only shows where a logit is 0 but for rounding.
    assert not differing.any() or restored[differing].abs().max() < 1e-4
    assert mask.xyxy == cropped(expected).xyxy
    assert steadiness == pytest.approx(float(stability(restored)), abs=2e-4)
    return mask


def cropped(bits: NDArray[np.bool_]) -> Mask:
    mask = Mask.crop(bits)
    assert mask is not None
    return mask


@pytest.mark.parametrize("original", SIZES, ids=str)
def test_a_mask_equals_two_bilinear_resizes(original: Size) -> None:
    resized = resized_size(original)
    centre = (resized[1] / 9, resized[0] / 7)
    assert assert_as_restored(blob(centre, (max(2, resized[1] / 20), max(2, resized[0] / 12))), original) is not None


@pytest.mark.parametrize("original", [(720, 1280), (517, 333)], ids=str)
@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)], ids=str)
def test_a_mask_at_the_border_is_not_cut(original: Size, corner: tuple[int, int]) -> None:
    resized = resized_size(original)
    mask = assert_as_restored(blob((corner[0] * resized[1] / 4, corner[1] * resized[0] / 4), (30, 25)), original)
    assert mask is not None
    left, top, right, bottom = mask.xyxy
    assert (right == original[1], bottom == original[0]) == (corner[0] == 1, corner[1] == 1)
    assert (left == 0, top == 0) == (corner[0] == 0, corner[1] == 0)


def test_a_mask_of_several_parts_is_drawn_whole() -> None:
    assert_as_restored(np.maximum(blob((20, 20), (9, 9)), blob((230, 120), (15, 9))), (720, 1280))


def test_a_mask_may_fill_the_frame() -> None:
    mask = assert_as_restored(np.full((SIDE, SIDE), 3, dtype=np.float32), (333, 517))
    assert mask is not None
    assert mask.area == 333 * 517


@pytest.mark.parametrize("logit", [-12.0, -0.5], ids=["far below the threshold", "near it"])
def test_no_mask_is_drawn_where_no_logit_is_above_the_threshold(logit: float) -> None:
    assert assert_as_restored(np.full((SIDE, SIDE), logit, dtype=np.float32), (720, 1280)) is None


def test_logits_in_the_padding_are_ignored() -> None:
    assert assert_as_restored(blob((128, 220), (20, 20)), (720, 1280)) is None
    drawing = MaskDrawing.between((SIDE, SIDE), (576, 1024), (720, 1280))
    assert drawing.draw(blob((128, 220), (20, 20))) is None


@pytest.mark.parametrize("longer_side", [512, 768])
def test_a_smaller_input_has_fewer_logits(longer_side: int) -> None:
    resized = resized_size((720, 1280), longer_side)
    side = longer_side // 4
    logits = blob((40, 30), (20, 12))[:side, :side]
    drawn = MaskDrawing.between((side, side), resized, (720, 1280)).draw(logits)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], (longer_side, longer_side), mode="bilinear"
    )
    restored = torch.nn.functional.interpolate(enlarged[..., : resized[0], : resized[1]], (720, 1280), mode="bilinear")[
        0, 0
    ]
    assert drawn is not None
    assert drawn[0].iou(cropped((restored > 0).numpy())) > 0.9999
    assert drawn[1] == pytest.approx(float(stability(restored)), abs=2e-4)
