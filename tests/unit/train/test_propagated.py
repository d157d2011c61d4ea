from __future__ import annotations

import numpy as np
import pytest
from support.drawn_photographs import HEIGHT, WIDTH, ellipse_bits, mask_of, paint, texture

from streamseg.messages import Image
from streamseg.train import propagated as module
from streamseg.train.propagated import propagated
from streamseg.train.scene import Scene, behind, beside, place

CANVAS = 224


def scene(canvas: int = CANVAS, seed: int = 0, colour: tuple[int, int, int] = (70, 190, 235)) -> Scene:
    rng = np.random.default_rng(seed)
    image = texture(HEIGHT, WIDTH, rng)
    bits = ellipse_bits(HEIGHT, WIDTH, (80, 60), (24, 18))
    paint(image, bits, rng, colour)
    return place(image, mask_of(bits), (80, 60), canvas * 0.45, canvas, rng)


def iou_of(shown: Scene, front: Scene | None, seed: int) -> float:
    found = propagated(shown, front, np.random.default_rng(seed))
    return 0.0 if found is None else found.iou(mask_of(behind(shown, front).mask > 127))


@pytest.fixture
def perfect_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(image: Image, rng: np.random.Generator) -> Image:
        return image

    monkeypatch.setattr(module, "as_filmed", unchanged)
    monkeypatch.setattr(module, "_NOISIEST", 0)


def test_the_same_numbers_give_the_same_mask() -> None:
    found = [propagated(scene(), None, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    one, again, other = (None if mask is None else (mask.x, mask.y, mask.bits.tobytes()) for mask in found)
    assert one is not None and one == again != other


def test_propagated_masks_are_mostly_right_and_differ() -> None:
    """Without contrast to the background, propagation errs as on photographs."""
    ious = [iou_of(scene(seed=seed, colour=(66, 80, 62)), None, seed) for seed in range(20)]
    assert 0.6 < np.median(ious) < 0.97
    assert min(ious) < np.median(ious) - 0.05
    assert len({round(iou, 4) for iou in ious}) > 15


@pytest.mark.usefixtures("perfect_camera")
def test_the_film_ends_with_the_scene() -> None:
    shown = scene()
    front = beside(shown, scene(seed=1), np.random.default_rng(0))
    for other in (None, front):
        *earlier, (image, share) = module._film(shown, other, np.random.default_rng(2))
        final = behind(shown, other)
        assert np.abs(image.astype(int) - final.image).mean() < 2
        assert ((share > 127) == (final.mask > 127)).mean() > 0.995
        assert 2 <= len(earlier) <= 5
        moves = [np.abs(frame.astype(int) - image).mean() for frame, _ in earlier]
        assert moves[0] > 1 and moves[0] >= moves[-1]


@pytest.mark.usefixtures("perfect_camera")
def test_each_frame_shows_the_object_where_its_mask_is_and_nowhere_else() -> None:
    for seed in range(5):
        for image, share in module._film(scene(), None, np.random.default_rng(seed)):
            bright = image[..., 2] > 160
            assert (bright & (share > 127)).sum() / (bright | (share > 127)).sum() > 0.9


def test_without_motion_propagation_keeps_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    still = module._Extent(0, 0, 0, 0)
    for name in ("_BACKGROUND", "_OBJECT", "_FRONT"):
        monkeypatch.setattr(module, name, still)
    assert min(iou_of(scene(), None, seed) for seed in range(5)) > 0.9


def test_masks_lie_in_the_pixels_of_any_canvas() -> None:
    ious = [iou_of(scene(canvas=448, seed=seed), None, seed) for seed in range(6)]
    assert np.median(ious) > 0.6


def test_an_object_that_is_hidden_at_first_has_no_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene()
    monkeypatch.setattr(module, "_FRONT", module._Extent(0, 0, 0, 0))
    everywhere = Scene(shown.image, np.full_like(shown.mask, 255), 0.0, shown.size)
    assert propagated(shown, everywhere, np.random.default_rng(0)) is None


def test_what_passes_in_front_hides_parts_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene()
    front = beside(shown, scene(seed=1), np.random.default_rng(0))
    visible = [
        (share > 127).sum()
        for seed in range(10)
        for _, share in module._film(shown, front, np.random.default_rng(seed))
    ]
    assert min(visible) < 0.8 * max(visible)
