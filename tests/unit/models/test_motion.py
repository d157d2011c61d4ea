from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.messages import Detection, Image
from streamseg.models.detectors.motion import MotionDetector
from streamseg.models.options import DetectorSettings
from streamseg.models.segmenters.nano.segmenter import Nano

HEIGHT, WIDTH = 360, 480


@functools.cache
def texture(seed: int, height: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.float32]:
    grain = np.random.default_rng(seed).normal(0.0, 1.0, (height, width, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(grain, (0, 0), 4.0))
    return np.asarray(soft / soft.std() * 18.0 + np.array(colour, np.float32), np.float32)


@dataclass(frozen=True)
class Scene:
    """A textured disc of radius 40 over a textured background that may itself shift."""

    step: float
    shift: float = 0.0
    noise: float = 2.0
    first: float = 70.0

    def box(self, number: int) -> Box:
        x = self.first + self.step * number
        return x - 40, 140.0, x + 40, 220.0

    def render(self, number: int) -> tuple[Image, NDArray[np.bool_]]:
        ground = texture(1, HEIGHT, 3 * WIDTH, (90, 110, 100))
        moved = cv2.warpAffine(ground, np.array([[1.0, 0.0, -self.shift * number], [0.0, 1.0, 0.0]]), (WIDTH, HEIGHT))
        picture = np.asarray(moved)
        ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
        disc = (xs - (self.first + self.step * number)) ** 2 + (ys - 180) ** 2 <= 40**2
        skin = texture(2, 81, 81, (40, 60, 220))
        rows, columns = np.nonzero(disc)
        offset = int(np.floor(self.first + self.step * number)) - 40
        picture[rows, columns] = skin[rows - 140, np.clip(columns - offset, 0, 80)]
        picture = picture + np.random.default_rng(number).normal(0.0, self.noise, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8), disc


def iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def watch(scene: Scene, frames: int) -> list[list[Detection]]:
    detector = MotionDetector(DetectorSettings(model="motion"))
    return [detector.detect(scene.render(number)[0]) for number in range(frames)]


@pytest.mark.parametrize("step", [1.5, 4.0, 9.0])
def test_box_follows_an_object_that_was_there_from_the_first_frame(step: float) -> None:
    scene = Scene(step=step)
    seen = watch(scene, 30)
    assert seen[0] == []
    overlaps = [
        max((iou(box.xyxy, scene.box(number)) for box in boxes), default=0.0) for number, boxes in enumerate(seen)
    ][4:]
    assert np.mean(overlaps[:7]) > 0.75  # while the object still covers a part of its first place, too
    assert np.mean(overlaps) > 0.75
    assert min(overlaps) > 0.4


def test_a_vacated_place_is_not_detected() -> None:
    scene = Scene(step=4.0)
    seen = watch(scene, 40)
    first_place = scene.box(0)
    assert all(iou(box.xyxy, first_place) == 0.0 for boxes in seen[25:] for box in boxes)
    assert all(len(boxes) == 1 for boxes in seen[2:])


def test_an_object_is_found_once_it_starts_to_move() -> None:
    rests, moves = Scene(step=0.0), Scene(step=4.0)
    detector = MotionDetector(DetectorSettings(model="motion"))
    assert [detector.detect(rests.render(number)[0]) for number in range(15)] == [[]] * 15
    seen = [detector.detect(moves.render(number)[0]) for number in range(25)]
    overlaps = [
        max((iou(box.xyxy, moves.box(number)) for box in boxes), default=0.0) for number, boxes in enumerate(seen)
    ]
    assert min(overlaps[3:]) > 0.5
    assert all(iou(box.xyxy, moves.box(0)) == 0.0 for box in seen[-1])


def test_masks_within_the_boxes() -> None:
    scene, nano = Scene(step=4.0), Nano()
    detector = MotionDetector(DetectorSettings(model="motion"))
    scores = []
    for number in range(24):
        image, truth = scene.render(number)
        detections = detector.detect(image)
        if number >= 2:
            masks = [
                answer.mask.paste(HEIGHT, WIDTH)
                for answer in nano.decode(nano.encode(image), detections)
                if answer.mask
            ]
            scores.append(max((float((mask & truth).sum() / (mask | truth).sum()) for mask in masks), default=0.0))
    assert np.mean(scores) >= 0.85


@pytest.mark.parametrize(
    "scene",
    [
        Scene(step=1.0, shift=3.0, first=200.0),
        Scene(step=4.0, shift=2.0, first=100.0),
        Scene(step=-3.0, shift=5.0, first=300.0),
    ],
)
def test_a_moving_camera_does_not_flood_the_frame(scene: Scene) -> None:
    seen = watch(scene, 20)
    overlaps = [
        max((iou(box.xyxy, scene.box(number)) for box in boxes), default=0.0) for number, boxes in enumerate(seen)
    ][3:]
    assert np.mean(overlaps) > 0.7
    assert all(len(boxes) <= 2 for boxes in seen)
    largest = max((box.xyxy[2] - box.xyxy[0]) * (box.xyxy[3] - box.xyxy[1]) for boxes in seen for box in boxes)
    assert largest < 0.3 * WIDTH * HEIGHT


def test_noise_on_a_still_scene_is_not_motion() -> None:
    assert watch(Scene(step=0.0, noise=6.0), 20) == [[]] * 20


def test_a_cut_or_a_new_geometry_resets_the_detector() -> None:
    detector = MotionDetector(DetectorSettings(model="motion"))
    scene = Scene(step=4.0)
    for number in range(6):
        detector.detect(scene.render(number)[0])
    other = np.clip(texture(9, HEIGHT, WIDTH, (200, 160, 30)), 0, 255).astype(np.uint8)
    assert detector.detect(other) == []
    assert [detector.detect(other) for _ in range(3)] == [[]] * 3
    assert detector.detect(np.ascontiguousarray(other[:200, :300])) == []


def test_the_same_frames_give_the_same_boxes() -> None:
    scene = Scene(step=4.0)
    first = watch(scene, 12)
    assert watch(scene, 12) == first
    assert all(
        0.25 <= box.confidence < 1.0 and box.class_name == "moving" and box.class_id == 0
        for boxes in first
        for box in boxes
    )


def test_conf_drops_weak_motion() -> None:
    detector = MotionDetector(DetectorSettings(model="motion", conf=1.0))
    assert [detector.detect(Scene(step=4.0).render(number)[0]) for number in range(8)] == [[]] * 8


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (900, 2, 3)])
def test_tiny_frames(shape: tuple[int, int, int]) -> None:
    detector = MotionDetector(DetectorSettings(model="motion"))
    height, width = shape[:2]
    for level in (0, 40, 200):
        for box in detector.detect(np.full(shape, level, np.uint8)):
            left, top, right, bottom = box.xyxy
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def test_real_footage_is_covered(shared_data: object) -> None:
    """In a real clip with a resting camera, nearly every frame that changes has a box over what changes."""
    capture = cv2.VideoCapture(f"{shared_data}/clips/cups.mp4")
    detector = MotionDetector(DetectorSettings(model="motion"))
    before: NDArray[np.uint8] | None = None
    changed, covered = 0, 0
    for _ in range(60):
        image = np.asarray(capture.read()[1], np.uint8)
        boxes = detector.detect(image)
        grey = np.asarray(cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (5, 5), 0), np.uint8)
        if before is not None:
            differs = cv2.absdiff(grey, before) > 25
            if np.mean(differs) > 0.002:
                changed += 1
                covered += any(
                    np.any(differs[int(y1) : int(y2), int(x1) : int(x2)])
                    for x1, y1, x2, y2 in (box.xyxy for box in boxes)
                )
        before = grey
    capture.release()
    assert changed > 20
    assert covered >= 0.9 * changed


def test_a_detector_that_takes_over_finds_what_the_first_one_would_have_found() -> None:
    settings = DetectorSettings(model="motion")
    pictures = [Scene(step=3.0).render(number)[0] for number in range(16)]
    undisturbed = MotionDetector(settings)
    expected = [undisturbed.detect(picture) for picture in pictures]
    assert all(expected[2:])
    for taken_over in (0, 1, 3, 12):
        first, second = MotionDetector(settings), MotionDetector(settings)
        found = [first.detect(picture) for picture in pictures[:taken_over]]
        second.restore(first.state())
        found += [second.detect(picture) for picture in pictures[taken_over:]]
        assert found == expected
