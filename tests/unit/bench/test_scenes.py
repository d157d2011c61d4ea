from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from benchmarks.flow import grey
from benchmarks.scenes import FIVE_OBJECTS, FRAMES, HEIGHT, KINDS, WIDTH, Kind, film
from benchmarks.truth import TrueFrame
from streamseg.masks import Mask

EMPTY = np.full((9, 16, 3), 90, np.uint8)


def kind(name: str) -> Kind:
    return next(each for each in KINDS if each.name == name)


def some_frames(name: str, seed: int = 0) -> list[TrueFrame]:
    """Every fifth frame of a scene."""
    return list(itertools.islice(film(kind(name), seed, EMPTY), 0, None, 5))


def centre(mask: Mask) -> tuple[float, float]:
    left, top, right, bottom = mask.xyxy
    return (left + right) / 2, (top + bottom) / 2


def only(shown: TrueFrame) -> Mask:
    (mask,) = shown.masks
    assert mask is not None
    return mask


@pytest.mark.parametrize("name", [each.name for each in KINDS])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_object_is_in_every_frame_with_a_box_3_percent_off(name: str, seed: int) -> None:
    shown = some_frames(name, seed)
    assert len(shown) == FRAMES // 5
    errors = []
    for one in shown:
        assert one.image.shape == (HEIGHT, WIDTH, 3) and one.image.dtype == np.uint8
        for mask, box in zip(one.masks, one.boxes, strict=True):
            assert mask is not None and box is not None and mask.inside(HEIGHT, WIDTH)
            assert mask.area > 5000
            sides = (mask.width, mask.height) * 2
            errors += [(edge - true) / side for edge, true, side in zip(box, mask.xyxy, sides, strict=True)]
    assert 0.02 < np.std(errors) < 0.04 and abs(np.mean(errors)) < 0.02


def test_the_seed_decides_what_is_drawn() -> None:
    first, again, other = (next(iter(film(kind("fast"), seed))) for seed in (2, 2, 3))
    assert np.array_equal(first.image, again.image) and first.boxes == again.boxes
    assert only(first).iou(only(again)) == 1
    assert not np.array_equal(first.image, other.image) and only(first).iou(only(other)) < 0.9


def test_masks_are_where_the_objects_are_drawn() -> None:
    """Over a black picture whatever is bright is the object."""
    (shown,) = film(kind("rotation"), 0, np.zeros((36, 64, 3), np.uint8), frames=1)
    bright = Mask.crop(cv2.medianBlur(grey(shown.image), 5) > 25)
    assert bright is not None and bright.iou(only(shown)) > 0.95


def test_objects_move_as_their_scene_defines() -> None:
    def steps(name: str, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.diff([centre(only(one)) for one in itertools.islice(film(kind(name), seed, EMPTY), 12)], axis=0)

    assert steps("translation").mean(axis=0) == pytest.approx((4, 1), abs=0.1)
    assert steps("fast").mean(axis=0) == pytest.approx((12, 1), abs=0.1)
    assert steps("fast", 1).mean(axis=0) == pytest.approx((-12, 1), abs=0.1)
    assert np.abs(steps("shake") - (2, 0)).max() > 3
    areas = [only(one).area for one in some_frames("scale")]
    assert areas == sorted(areas) and areas[-1] > 3 * areas[0]
    turned = some_frames("rotation")
    assert only(turned[0]).iou(only(turned[-1])) < 0.8


def test_a_shaking_camera_moves_the_background_by_up_to_eight_pixels() -> None:
    picture = np.zeros((HEIGHT + 8, WIDTH + 8, 3), np.uint8)
    picture[50:70, 50:70] = 255
    squares = [
        Mask.crop(grey(one.image)[:90, :90] > 127) for one in itertools.islice(film(kind("shake"), 0, picture), 30)
    ]
    places = np.array([(square.x, square.y) for square in squares if square is not None])
    assert len(places) == 30
    assert np.ptp(places, axis=0).tolist() == [8, 8]
    assert 6 <= np.abs(np.diff(places, axis=0)).max() <= 8


def test_of_two_crossing_objects_the_front_one_hides_the_other() -> None:
    shown = some_frames("crossing")
    areas = np.array([[mask.area for mask in one.masks if mask is not None] for one in shown])
    assert areas[:, 1].min() > 0.99 * areas[:, 1].max()
    assert areas[len(shown) // 2, 0] < 0.6 * areas[0, 0] and areas[-1, 0] == pytest.approx(areas[0, 0], rel=0.01)
    for one in shown:
        behind, front = one.masks
        assert behind is not None and front is not None
        assert not (behind.paste(HEIGHT, WIDTH) & front.paste(HEIGHT, WIDTH)).any()


def test_an_object_behind_a_wall_stays_visible_beside_it() -> None:
    shown = some_frames("occlusion")
    areas = [only(one).area for one in shown]
    assert min(areas) < 0.6 * areas[0]
    for one in shown:
        assert not only(one).paste(HEIGHT, WIDTH)[:, WIDTH // 2 - 50 : WIDTH // 2 + 50].any()


def test_the_timed_scene_has_five_separate_objects_of_200_by_300() -> None:
    for one in itertools.islice(film(FIVE_OBJECTS, 0), 0, 60, 10):
        assert len(one.masks) == 5
        for mask in one.masks:
            assert mask is not None and mask.inside(HEIGHT, WIDTH)
            assert (mask.width, mask.height) == pytest.approx((200, 300), abs=4)
