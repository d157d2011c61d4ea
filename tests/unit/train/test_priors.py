from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.drawn_photographs import ellipse_bits

from streamseg.train.augmentation import stale

Plane = NDArray[np.float32]
SIDE = 96


def masks() -> list[Plane]:
    """Targets like those of training samples: objects in the middle of the window, with soft edges."""
    round_one = ellipse_bits(SIDE, SIDE, (48, 48), (34, 30))
    long_one = ellipse_bits(SIDE, SIDE, (50, 46), (15, 33))
    with_a_hole = round_one & ~ellipse_bits(SIDE, SIDE, (52, 50), (12, 10))
    return [
        np.asarray(cv2.GaussianBlur(bits.astype(np.float32), (3, 3), 0), np.float32)
        for bits in (round_one, long_one, with_a_hole)
    ]


def ious(mask: Plane, count: int) -> NDArray[np.float64]:
    true = mask > 0.5
    priors = [stale(mask, np.random.default_rng((5, number))) > 0.5 for number in range(count)]
    return np.array([(prior & true).sum() / (prior | true).sum() for prior in priors])


@pytest.mark.parametrize("mask", masks())
def test_a_stale_mask_is_0_or_1_and_the_true_one_is_unchanged(mask: Plane) -> None:
    before = mask.copy()
    for number in range(50):
        prior = stale(mask, np.random.default_rng(number))
        assert prior.shape == (SIDE, SIDE) and prior.dtype == np.float32
        assert set(np.unique(prior)) <= {0.0, 1.0}
    assert np.array_equal(mask, before)


def test_stale_masks_depend_on_the_seed_alone() -> None:
    mask = masks()[0]
    first, again = (stale(mask, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)
    assert len({stale(mask, np.random.default_rng(number)).tobytes() for number in range(20)}) == 20


@pytest.mark.parametrize("mask", masks())
def test_stale_masks_agree_with_the_true_one_in_part(mask: Plane) -> None:
    found = ious(mask, 300)
    assert 0.4 < found.mean() < 0.9
    # Some are hardly out of date, and some of little use.
    assert found.max() > 0.9 and found.min() < 0.5


def test_an_empty_mask_stays_valid() -> None:
    for number in range(30):
        prior = stale(np.zeros((SIDE, SIDE), np.float32), np.random.default_rng(number))
        assert prior.mean() < 0.5
