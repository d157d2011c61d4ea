from __future__ import annotations

import numpy as np
import pytest

from streamseg.messages import Image
from streamseg.propagate.appearance import CERTAIN, Appearance, colour_logits
from streamseg.window import Plane

GREY, GREEN, BLUE = (120, 120, 120), (20, 200, 20), (200, 20, 20)
WARM, COLD = (40, 40, 200), (200, 40, 40)


def halves(side: int, left: tuple[int, int, int], right: tuple[int, int, int]) -> Image:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, : side // 2], picture[:, side // 2 :] = left, right
    return picture


def left_half(side: int) -> Plane:
    share = np.zeros((side, side), np.float32)
    share[:, : side // 2] = 1
    return share


def logits_of(appearance: Appearance, picture: Image) -> Plane:
    logits: Plane = colour_logits([appearance], picture[None])[0]
    return logits


@pytest.mark.parametrize("side", [48, 64, 96, 128, 192])
def test_colours_separate_the_object_from_its_surroundings(side: int) -> None:
    picture = halves(side, COLD, WARM)
    logits = logits_of(Appearance.of(picture, left_half(side)), picture)
    assert logits.shape == (side, side)
    assert (logits[:, : side // 2 - 4] > 0.9 * CERTAIN).all() and (logits[:, side // 2 + 4 :] < -0.9 * CERTAIN).all()


def test_a_model_of_one_resolution_holds_in_another() -> None:
    appearance = Appearance.of(halves(128, COLD, WARM), left_half(128))
    assert (logits_of(appearance, halves(48, COLD, WARM))[:, :20] > 0.9 * CERTAIN).all()


def test_a_colour_never_seen_proves_nothing() -> None:
    appearance = Appearance.of(halves(64, COLD, WARM), left_half(64))
    assert not logits_of(appearance, np.full((64, 64, 3), 120, np.uint8)).any()


def test_a_colour_counts_by_its_place() -> None:
    """Grey is the object's at the top, beside green, and the background's at the bottom, beside blue."""
    picture = np.concatenate((halves(64, GREY, GREEN)[:32], halves(64, BLUE, GREY)[32:]))
    logits = logits_of(Appearance.of(picture, left_half(64)), picture)
    assert logits[4:16, 4:20].min() > 0.5
    assert logits[48:60, 44:60].max() < -0.5


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_square_of_object_or_background_alone_gives_finite_logits(value: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    logits = logits_of(Appearance.of(picture, np.full((64, 64), value, np.float32)), picture)
    assert np.isfinite(logits).all() and np.abs(logits).max() <= CERTAIN + 1e-3


def test_a_pixel_counts_for_the_colours_around_it() -> None:
    """76.5 is the middle between the levels 68 and 85: nothing jumps where a shade crosses it."""
    appearance = Appearance.of(halves(64, (76, 76, 76), (200, 200, 200)), left_half(64))
    for shade in (70, 76, 84):
        assert (logits_of(appearance, np.full((64, 64, 3), shade, np.uint8)) > 0.9 * CERTAIN).all()
