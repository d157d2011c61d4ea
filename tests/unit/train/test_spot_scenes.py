from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamseg.train.spot import scenes
from streamseg.train.spot.labels import LabelledPhotograph
from streamseg.train.spot.scenes import GREY, Scenes


@pytest.fixture
def photographs(tmp_path: Path) -> list[LabelledPhotograph]:
    """Red squares on white; each fills its box."""
    found = []
    for number in range(3):
        image = np.full((120, 160, 3), 255, np.uint8)
        left, top = 20 + 30 * number, 30
        image[top : top + 40, left : left + 50] = (0, 0, 255)
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), image)
        box = np.array([[left, top, left + 50, top + 40]], np.float32)
        found.append(LabelledPhotograph(path, box, np.array([number]), complete=True))
    return found


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the effects of cameras, so that colours can be checked."""
    monkeypatch.setattr(scenes, "as_filmed", lambda image, rng: image)
    monkeypatch.setattr(scenes, "BATCH", 6)


def is_red(picture: NDArray[np.generic]) -> NDArray[np.bool_]:
    planes = np.asarray(picture, np.uint8)
    return np.asarray((planes[2] > 200) & (planes[0] < 90), np.bool_)


def test_boxes_are_where_their_objects_are(photographs: list[LabelledPhotograph]) -> None:
    source = Scenes(photographs, None, seed=1)
    seen = 0
    for number in range(6):
        pictures, labels = source.batch(number)
        assert pictures.shape[2:] in scenes.SIZES and pictures.dtype == np.uint8
        for picture, of_picture in zip(pictures, labels, strict=True):
            red = is_red(picture)
            covered = np.zeros_like(red)
            for label, left, top, right, bottom in of_picture[of_picture[:, 0] >= 0]:
                assert label in (0, 1, 2)
                assert 0 <= left < right <= red.shape[1] and 0 <= top < bottom <= red.shape[0]
                inner = red[round(top + 2) : round(bottom - 2), round(left + 2) : round(right - 2)]
                assert inner.size == 0 or inner.mean() > 0.97
                covered[max(round(top - 2), 0) : round(bottom + 2), max(round(left - 2), 0) : round(right + 2)] = True
                seen += 1
            # What is cut off by more than its share is red, and has no label.
            assert (red & ~covered).mean() < 0.1
    assert seen > 30


def test_a_batch_is_determined_by_the_seed_and_its_number(photographs: list[LabelledPhotograph]) -> None:
    first, again, other = (Scenes(photographs, None, seed).batch(3) for seed in (1, 1, 2))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()


def test_around_a_small_photograph_there_is_grey(photographs: list[LabelledPhotograph]) -> None:
    pictures, _ = Scenes(photographs, None, seed=1).batch(0)
    assert any((picture == GREY).all(axis=0).mean() > 0.05 for picture in pictures)


def test_the_teacher_sees_the_very_pictures(photographs: list[LabelledPhotograph]) -> None:
    seen = []

    class Listening:
        def rows(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.append(pictures.copy())
            return np.ones((len(pictures), 4, 85), np.float32)

    pictures, _, rows = Scenes(photographs, Listening(), seed=1).batch(0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(seen[0], pictures)
    assert rows.shape == (6, 4, 85)
    assert rows.dtype == np.float16
