from __future__ import annotations

import numpy as np
import pytest

from streamseg.propagate.crop import FLOW_SIDE
from streamseg.propagate.overlaps import DrawnMask, draw, expected_ious, remove_overlaps
from streamseg.window import Window

WIDTH, HEIGHT = 480, 360
WINDOW = Window(80, 80, 240, 240)


def test_islands_are_dropped_and_large_parts_kept() -> None:
    logits = np.full((80, 80), -3.0, np.float32)
    logits[8:34, 8:34] = logits[50:66, 50:66] = 3
    logits[72:75, 8:11] = 3
    mask = draw(logits, WINDOW, WIDTH, HEIGHT).mask
    assert mask is not None
    full = mask.paste(HEIGHT, WIDTH)

    def at(row: int, column: int) -> bool:
        return bool(full[WINDOW.top + row * WINDOW.height // 80, WINDOW.left + column * WINDOW.width // 80])

    assert at(20, 20) and at(58, 58) and not at(73, 9)


def test_log_odds_below_zero_draw_no_mask() -> None:
    assert draw(np.full((80, 80), -1.0, np.float32), WINDOW, WIDTH, HEIGHT).mask is None


def test_expected_iou_is_that_of_a_fair_bet() -> None:
    """The mean IoU over many objects whose pixels are drawn with the probabilities of their log-odds."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 3, (FLOW_SIDE, FLOW_SIDE)).astype(np.float32)
    probability = 1 / (1 + np.exp(-logits))
    drawn = logits > 0
    ious = []
    for _ in range(50):
        true = rng.random(logits.shape) < probability
        ious.append(np.count_nonzero(true & drawn) / np.count_nonzero(true | drawn))
    assert expected_ious(logits[None]) == pytest.approx([np.mean(ious)], abs=0.01)


def whole(logits: float, window: Window) -> DrawnMask:
    """A mask that fills its window."""
    return draw(np.full((80, 80), logits, np.float32), window, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("first", "second", "areas"), [(6.0, 3.0, (160, 80)), (3.0, 6.0, (80, 160)), (6.0, 5.0, (160, 160))]
)
def test_an_overlap_goes_to_the_mask_that_is_clearly_surer(first: float, second: float, areas: tuple[int, int]) -> None:
    """Where neither is, both keep it."""
    beside = Window(160, 80, 320, 240)
    masks = remove_overlaps([whole(first, WINDOW), whole(second, beside)])
    assert [None if mask is None else mask.area // 160 for mask in masks] == list(areas)


def test_a_mask_can_lose_all_of_its_pixels() -> None:
    inside = Window(100, 100, 140, 140)
    outer, inner, elsewhere = remove_overlaps([whole(6, WINDOW), whole(1, inside), whole(1, Window(300, 80, 340, 120))])
    assert outer is not None and outer.area == 160 * 160
    assert inner is None
    assert elsewhere is not None and elsewhere.area == 40 * 40
