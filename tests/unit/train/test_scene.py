from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from support.drawn_photographs import HEIGHT, WIDTH, ellipse_bits, mask_of, texture

from streamseg.masks import Bits, Mask
from streamseg.messages import Image
from streamseg.train.scene import GREY, Scene, behind, beside, on_other_background, place

CANVAS = 224


def painted(
    centre: tuple[float, float], axes: tuple[float, float], height: int = HEIGHT, width: int = WIDTH
) -> tuple[Image, Mask]:
    """A red ellipse on a texture."""
    image = texture(height, width, np.random.default_rng(0))
    bits = ellipse_bits(height, width, centre, axes)
    image[bits] = (0, 0, 255)
    return image, mask_of(bits)


def placed(image: Image, mask: Mask, size: float = 100.0, seed: int = 0) -> Scene:
    left, top, right, bottom = mask.xyxy
    return place(image, mask, ((left + right) / 2, (top + bottom) / 2), size, CANVAS, np.random.default_rng(seed))


def red(image: Image) -> Bits:
    return np.asarray((image[..., 2] > 160) & (image[..., 0] < 100))


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(("centre", "axes"), [((80, 60), (20, 15)), ((12, 100), (10, 18)), ((148, 8), (10, 6))])
@pytest.mark.parametrize("size", [40.0, 100.0])
def test_mask_and_picture_agree_and_the_object_is_in_the_middle(
    centre: tuple[float, float], axes: tuple[float, float], size: float
) -> None:
    for seed in range(12):
        scene = placed(*painted(centre, axes), size, seed)
        assert scene.image.shape == (CANVAS, CANVAS, 3) and scene.mask.shape == (CANVAS, CANVAS)
        assert iou(red(scene.image), scene.mask > 127) > 0.85
        there = mask_of(scene.mask > 127)
        assert 0.75 * size < max(there.width, there.height) < 1.3 * size
        assert (there.x + there.width / 2, there.y + there.height / 2) == pytest.approx((CANVAS / 2, CANVAS / 2), abs=3)
        assert scene.beyond < 0.03 * there.area


def test_outside_the_photograph_the_canvas_is_grey() -> None:
    scene = placed(*painted((10, 60), (8, 8)), 60.0)
    grey = (scene.image == GREY).all(axis=2)
    assert 0.2 < grey.mean() < 0.6
    assert not (grey & (scene.mask > 127)).any()


def test_a_large_object_is_averaged() -> None:
    """Sampled, the stripes would stay; averaged, they are even."""
    image = np.zeros((700, 800, 3), np.uint8)
    image[:, ::2] = 200
    scene = placed(image, mask_of(ellipse_bits(700, 800, (400, 350), (330, 300))), 60.0)
    assert scene.image[scene.mask == 255].std() < 12


def test_what_the_canvas_cuts_off_is_counted() -> None:
    image, mask = painted((80, 60), (40, 40))
    for size, share in ((200.0, 0.0), (2 * CANVAS / np.pi**0.5, 0.0), (600.0, 1 - CANVAS**2 / (np.pi * 300**2))):
        scene = placed(image, mask, size)
        whole = np.pi * (size / 2) ** 2
        assert scene.beyond + scene.mask.sum() / 255 == pytest.approx(whole, rel=0.03)
        assert scene.beyond / whole == pytest.approx(share, abs=0.12)


def test_any_point_of_the_object_may_be_in_the_middle() -> None:
    image, mask = painted((80, 60), (30, 20))
    image[50:53, 60:63] = 255
    for seed in range(10):
        scene = place(image, mask, (61.5, 51.5), 120.0, CANVAS, np.random.default_rng(seed))
        assert (scene.image[CANVAS // 2 - 2 : CANVAS // 2 + 2, CANVAS // 2 - 2 : CANVAS // 2 + 2] > 200).all()


def test_an_object_in_front_hides_a_part() -> None:
    scene, other = (
        placed(*painted((80, 60), (20, 20))),
        placed(np.full((120, 160, 3), 255, np.uint8), painted((80, 60), (20, 15))[1]),
    )
    hidden = []
    for seed in range(40):
        shown = behind(scene, beside(scene, other, np.random.default_rng(seed)))
        hidden.append(1 - (shown.mask > 127).sum() / (scene.mask > 127).sum())
        assert iou(red(shown.image), shown.mask > 127) > 0.8
    assert max(hidden) > 0.1 and min(hidden) < 0.1


def test_on_another_background_the_object_is_the_same() -> None:
    scene, other = placed(*painted((80, 60), (20, 20))), placed(*painted((40, 40), (10, 10)), seed=1)
    changed = on_other_background(scene, other)
    inside = scene.mask == 255
    assert np.array_equal(changed.mask, scene.mask)
    assert np.abs(changed.image[inside].astype(int) - scene.image[inside]).mean() < 5
    beyond = (scene.mask == 0) & ~inside
    assert (changed.image[beyond] == other.image[beyond]).mean() > 0.95
