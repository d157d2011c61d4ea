from __future__ import annotations

import numpy as np
import pytest

from streamseg.messages import Image
from streamseg.propagate.appearance import CERTAIN, Appearance, evidence, learn
from streamseg.window import Plane

GREY, GREEN, BLUE = (120, 120, 120), (20, 200, 20), (200, 20, 20)


def halves(
    side: int, left: tuple[int, int, int], right: tuple[int, int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, : side // 2], picture[:, side // 2 :] = left, right
    return picture


def told(learnt: Appearance, picture: Image) -> Plane:
    odds: Plane = evidence([learnt], picture[None])[0]
    return odds


@pytest.mark.parametrize("side", [48, 64, 96, 128, 192])
def test_colours_tell_the_object_from_its_surroundings(side: int) -> None:
    picture = halves(side, (200, 40, 40), (40, 40, 200))
    share = np.zeros((side, side), np.float32)
    share[:, : side // 2] = 1
    odds = told(learn(picture, share), picture)
    assert odds.shape == (side, side)
    assert (odds[:, : side // 2 - 4] > 0.9 * CERTAIN).all() and (odds[:, side // 2 + 4 :] < -0.9 * CERTAIN).all()


def test_what_was_learnt_in_one_resolution_holds_in_another() -> None:
    share = np.zeros((128, 128), np.float32)
    share[:, :64] = 1
    learnt = learn(halves(128, (200, 40, 40), (40, 40, 200)), share)
    assert (told(learnt, halves(48, (200, 40, 40), (40, 40, 200)))[:, :20] > 0.9 * CERTAIN).all()


def test_a_colour_that_was_never_seen_proves_nothing() -> None:
    share = np.zeros((64, 64), np.float32)
    share[:, :32] = 1
    learnt = learn(halves(64, (200, 40, 40), (40, 40, 200)), share)
    assert not told(learnt, np.full((64, 64, 3), 120, np.uint8)).any()


def test_the_same_colour_means_different_things_at_different_places() -> None:
    """A grey that is the object's at the top, beside green, and the background's at the bottom, beside blue."""
    picture = np.concatenate((halves(64, GREY, GREEN)[:32], halves(64, BLUE, GREY)[32:]))
    share = np.zeros((64, 64), np.float32)
    share[:, :32] = 1
    odds = told(learn(picture, share), picture)
    assert odds[4:16, 4:20].min() > 0.5
    assert odds[48:60, 44:60].max() < -0.5


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_square_with_nothing_but_one_of_both_is_no_harm(value: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    odds = told(learn(picture, np.full((64, 64), value, np.float32)), picture)
    assert np.isfinite(odds).all() and np.abs(odds).max() <= CERTAIN + 1e-3


def test_a_pixel_lies_between_eight_colours() -> None:
    """The middle between two levels counts half for each: nothing jumps where a colour crosses from one level to the next."""
    share = np.zeros((64, 64), np.float32)
    share[:, :32] = 1
    learnt = learn(halves(64, (76, 76, 76), (200, 200, 200)), share)  # 76.5 is the middle between the levels 68 and 85
    for shade in (70, 76, 84):
        assert (told(learnt, np.full((64, 64, 3), shade, np.uint8)) > 0.9 * CERTAIN).all()
