from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.grabcut import GrabCut
from streamseg.geometry import Box
from streamseg.messages import Detection, Image


def detection(xyxy: Box) -> Detection:
    return Detection(xyxy=xyxy, confidence=1.0, class_id=0, class_name="disc")


def disc(height: int, width: int, x: int, y: int, radius: int) -> tuple[Image, NDArray[np.bool_]]:
    """A red disc over a grey-green texture, and where it is."""
    chance = np.random.default_rng(3)
    image = np.clip(chance.normal((100, 115, 100), 12, (height, width, 3)), 0, 255).astype(np.uint8)
    truth = np.zeros((height, width), np.uint8)
    cv2.circle(truth, (x, y), radius, 1, cv2.FILLED)
    image[truth > 0] = np.clip(chance.normal((40, 40, 210), 12, (int(truth.sum()), 3)), 0, 255).astype(np.uint8)
    return image, truth > 0


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(("height", "width", "radius"), [(120, 160, 12), (480, 640, 90), (1080, 1920, 400)])
def test_finds_the_object_in_a_box_of_any_size(height: int, width: int, radius: int) -> None:
    x, y = width // 2 + 7, height // 2 - 5
    image, truth = disc(height, width, x, y, radius)
    grabcut = GrabCut()
    [answer] = grabcut.decode(
        grabcut.encode(image), [detection((x - radius - 3, y - radius - 3, x + radius + 3, y + radius + 3))]
    )
    assert answer.mask is not None
    assert (answer.predicted_iou, answer.stability) == (None, None)
    assert overlap(answer.mask.paste(height, width), truth) > 0.93


def test_masks_stay_in_the_frame_and_with_their_box() -> None:
    image, truth = disc(240, 320, 5, 120, 60)
    other, second = disc(240, 320, 230, 100, 40)
    image[second] = other[second]
    grabcut = GrabCut()
    answers = grabcut.decode(
        grabcut.encode(image), [detection((188.0, 58.0, 272.0, 142.0)), detection((-80.0, 55.0, 67.0, 185.0))]
    )
    masks = [answer.mask for answer in answers]
    assert masks[0] is not None and masks[1] is not None
    assert all(mask.inside(240, 320) for mask in masks if mask)
    assert overlap(masks[0].paste(240, 320), second) > 0.9
    assert overlap(masks[1].paste(240, 320), truth) > 0.8


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 64.0, 48.0),
        (-9.0, -9.0, 99.0, 99.0),
        (70.0, 10.0, 90.0, 20.0),
        (-9.0, 0.0, 0.0, 9.0),
        (9.0, 9.0, 3.0, 3.0),
    ],
)
def test_a_box_without_background_or_object_has_no_mask(box: Box) -> None:
    image, _ = disc(48, 64, 30, 24, 10)
    grabcut = GrabCut()
    [answer] = grabcut.decode(grabcut.encode(image), [detection(box)])
    assert answer.mask is None
    assert answer.mask is None


def test_the_same_box_gives_the_same_mask_whatever_was_asked_before() -> None:
    image, _ = disc(240, 320, 160, 120, 60)
    image = np.clip(image + np.random.default_rng(0).normal(0, 40, image.shape), 0, 255).astype(np.uint8)
    box = detection((90.0, 50.0, 230.0, 190.0))
    grabcut = GrabCut()
    [first] = grabcut.decode(grabcut.encode(image), [box])
    cv2.setRNGSeed(77)
    _, again = grabcut.decode(grabcut.encode(image), [detection((10.0, 10.0, 80.0, 70.0)), box])
    assert first.mask is not None and again.mask is not None
    assert (first.mask.x, first.mask.y) == (again.mask.x, again.mask.y)
    assert np.array_equal(first.mask.bits, again.mask.bits)


def test_one_colour_everywhere_is_no_error() -> None:
    grabcut = GrabCut()
    answers = grabcut.decode(
        grabcut.encode(np.full((90, 120, 3), 128, np.uint8)), [detection((30.0, 20.0, 90.0, 70.0))]
    )
    assert len(answers) == 1
    assert grabcut.decode(grabcut.encode(np.zeros((8, 8, 3), np.uint8)), []) == []


def test_a_box_as_large_as_full_hd_takes_no_longer_than_a_small_one() -> None:
    image, _ = disc(1080, 1920, 960, 540, 480)
    grabcut = GrabCut()
    began = time.process_time()
    grabcut.decode(grabcut.encode(image), [detection((470.0, 50.0, 1450.0, 1030.0))])
    assert time.process_time() - began < 1.0
