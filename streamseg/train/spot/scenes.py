"""Training samples: photographs at random sizes and places, alone or four together, as cameras film them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image
from streamseg.train.augmentation import as_filmed
from streamseg.train.spot.labels import Boxes, LabelledPhotograph
from streamseg.train.spot.teacher import Rows, Teacher

BATCH: Final = 16
SIZES: Final = ((256, 416), (320, 416), (416, 416), (416, 320), (224, 352), (288, 480))
"""Heights and widths of inputs, one for each batch; 256x416 is that of a frame of 16:9."""
GREY: Final = 114
MOST: Final = 64
"""Labelled objects of one sample that count."""
_MOSAICS = 0.5
_SCALES = (0.5, 1.6)
"""Range of sizes of a photograph, relative to the input."""
_VISIBLE = 0.3
"""Share of a box within the picture below which its object is no longer labelled."""
_KEPT = 4000
"""Photographs kept in memory by each process."""

Scene = tuple[Image, Boxes, NDArray[np.int64]]
"""A picture, its boxes, and their classes."""


class Scenes:
    """Random batches, determined by the seed and their number."""

    def __init__(self, photographs: Sequence[LabelledPhotograph], teacher: Teacher | None, seed: int) -> None:
        self._photographs = list(photographs)
        self._teacher = teacher
        self._seed = seed
        self._images: dict[int, Image] = {}

    def __len__(self) -> int:
        """The number of photographs."""
        return len(self._photographs)

    def batch(self, number: int) -> tuple[NDArray[np.generic], ...]:
        """The batch with that number.

        Returns:
            Pictures, shape (BATCH, 3, height, width), uint8, BGR; labels, shape (BATCH, MOST, 5), float32: class, or -1
            for none, and box; and with a teacher its outputs, shape (BATCH, cells, 5 + classes), float16.

        Raises:
            SourceError: A photograph cannot be read.
        """
        rng = np.random.default_rng((self._seed, number))
        height, width = SIZES[rng.integers(len(SIZES))]
        pictures = np.empty((BATCH, 3, height, width), np.uint8)
        labels = np.full((BATCH, MOST, 5), -1, np.float32)
        for place in range(BATCH):
            image, boxes, classes = self._scene(height, width, rng)
            pictures[place] = as_filmed(image, rng).transpose(2, 0, 1)
            first = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:MOST]
            labels[place, : len(first), 0], labels[place, : len(first), 1:] = classes[first], boxes[first]
        if self._teacher is None:
            return pictures, labels
        rows: Rows = self._teacher.rows(pictures)
        return pictures, labels, rows.astype(np.float16)

    def _scene(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        if rng.random() >= _MOSAICS:
            return self._placed(height, width, rng)
        image: Image = np.empty((height, width, 3), np.uint8)
        row, column = (round(side * rng.uniform(0.3, 0.7)) for side in (height, width))
        boxes, classes = [], []
        for top, bottom in ((0, row), (row, height)):
            for left, right in ((0, column), (column, width)):
                part, its_boxes, its_classes = self._placed(bottom - top, right - left, rng)
                image[top:bottom, left:right] = part
                boxes.append(its_boxes + _twice(left, top))
                classes.append(its_classes)
        return image, np.concatenate(boxes), np.concatenate(classes)

    def _placed(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        """A random photograph, mirrored half of the time, at a random size and place in a picture of that size."""
        place = int(rng.integers(len(self._photographs)))
        photograph, image = self._photographs[place], self._image(place)
        fitted = min(height / image.shape[0], width / image.shape[1])
        scale = fitted * float(np.exp(rng.uniform(*np.log(_SCALES))))
        stretch = float(np.exp(rng.normal(0, 0.08)))
        across, down = scale * stretch, scale / stretch
        room_x, room_y = width - image.shape[1] * across, height - image.shape[0] * down
        left, top = rng.uniform(min(room_x, 0), max(room_x, 0)), rng.uniform(min(room_y, 0), max(room_y, 0))
        boxes = photograph.boxes
        mirrored = rng.random() < 0.5
        if mirrored:
            image = image[:, ::-1]
            boxes = boxes[:, (2, 1, 0, 3)] * _twice(-1, 1) + _twice(image.shape[1], 0)
        if scale < 0.7:
            spread = 0.5 / scale - 0.3
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), spread), np.uint8)
        matrix = np.array(((across, 0, left), (0, down, top)))
        drawn = cv2.warpAffine(
            np.ascontiguousarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3
        )
        moved = boxes * _twice(across, down) + _twice(left, top)
        seen = moved.clip(0, _twice(width, height))
        visible = _areas(seen) >= _VISIBLE * _areas(moved)
        return np.asarray(drawn, np.uint8), seen[visible], photograph.classes[visible]

    def _image(self, place: int) -> Image:
        image = self._images.get(place)
        if image is None:
            image = self._photographs[place].read()
            if len(self._images) < _KEPT:
                self._images[place] = image
        return image


def _areas(boxes: Boxes) -> NDArray[np.float32]:
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def _twice(x: float, y: float) -> NDArray[np.float32]:
    return np.array((x, y, x, y), np.float32)
