"""From a frame and prompts to masks: functions of arrays, for boxes with or without a prior mask, and for points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.window import Plane, Point, Window, box_plane, crop, mask_plane, paste, point_plane, window_around

Batch = NDArray[np.float32]

_BATCH = 16
"""Windows per run: more take no less time each, and more memory."""
POINT_WINDOWS: Final = (0.07, 0.15, 0.33, 0.73, 1.6)
"""Sides of the windows around a point, as shares of the frame's longer side; the largest shows an object that fills the
frame from a point near its edge."""
_SMALLEST_POINT_WINDOW = 1 / 4
"""Side of the smallest window around a point, in sides of the network's pictures: less would show hardly a pixel."""
POINT_REACH: Final = 1.5
"""Side of a window around points, in distances of these, at least."""


class Network(Protocol):
    """A trained network of any size."""

    @property
    def side(self) -> int:
        """Side of its pictures, in pixels."""
        ...

    def __call__(self, pictures: Batch, hints: Batch) -> tuple[Batch, Batch]:
        """From n pictures and their hints to logits of shape (n, side, side) and predicted IoU of shape (n,).

        The logits are above zero on the object; the predicted IoU is 0 to 1.

        Args:
            pictures: Shape (n, 3, side, side), as `normalise` returns them.
            hints: Shape (n, HINT_PLANES, side, side), as `Hints.planes` returns them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of one object, in pixels of the frame: its box, or a point on it, at least.

    Attributes:
        box: It may leave the frame.
        prior: An expected mask.
        on: Points on the object.
        off: Points beside it.
    """

    box: Box | None = None
    prior: Mask | None = None
    on: tuple[Point, ...] = ()
    off: tuple[Point, ...] = ()

    def planes(self, window: Window, side: int) -> Batch:
        """What the network reads beside the picture of a window: shape (HINT_PLANES, side, side), 0 to 1."""
        planes = np.zeros((HINT_PLANES, side, side), np.float32)
        if self.box is not None:
            planes[0] = box_plane(self.box, window, side)
        if self.prior is not None:
            planes[1] = mask_plane(self.prior, window, side)
            planes[2] = 1
        for place, points in ((3, self.on), (4, self.off)):
            if points:
                planes[place] = point_plane(points, window, side)
        return planes


@dataclass(frozen=True, slots=True)
class Drawn:
    """The mask drawn for one object.

    Attributes:
        mask: None if the box or all points on the object lie outside the frame, or there is no object.
        predicted_iou: Expected intersection over union with the true mask, 0 to 1.
    """

    mask: Mask | None
    predicted_iou: float


def draw_masks(
    network: Network, image: Image, boxes: Sequence[Box], priors: Sequence[Mask | None] | None = None
) -> list[Drawn]:
    """Draw the mask of the object in each box.

    Args:
        network: Runs on pictures and hints.
        image: Shape (height, width, 3), uint8, BGR.
        boxes: In pixels of the frame; they may leave it.
        priors: An expected mask for each box, such as one propagated from an older frame, or None. If the IoU of the
            drawn mask and the prior is at least the predicted IoU, the prior is returned unchanged.

    Returns:
        One result for each box, in the order given.
    """
    height, width = image.shape[:2]
    given = [None] * len(boxes) if priors is None else priors
    drawn = [Drawn(None, 0.0)] * len(boxes)
    for output in run_network(network, image, boxes, given):
        mask = paste(output.logits, output.window, width, height)
        drawn[output.place] = Drawn(
            _prefer_prior(mask, given[output.place], output.predicted_iou), output.predicted_iou
        )
    return drawn


def draw_from_points(
    network: Network, image: Image, points: NDArray[np.float64], labels: NDArray[np.int64]
) -> list[Drawn]:
    """Draw the masks of n objects from points on them.

    Points do not show how large an object is. So the network runs in windows of several sizes around them, and once
    more in the box of the mask with the highest predicted IoU.

    Args:
        network: Runs on pictures and hints.
        image: Shape (height, width, 3), uint8, BGR.
        points: Shape (n, points, 2): x and y in pixels of the frame.
        labels: Shape (n, points): 1 on the object, 0 beside it, -1 for padding. Without a point on the object, inside
            the frame, there is no mask.

    Returns:
        One result for each object, in the order given.
    """
    height, width = image.shape[:2]
    hints = [_point_hints(*each, width, height) for each in zip(points, labels, strict=True)]
    around = [
        NetworkInput(place, window, each)
        for place, each in enumerate(hints)
        for window in _point_windows(each.on, width, height, network.side)
    ]
    best: dict[int, NetworkOutput] = {}
    for output in _run(network, image, around):
        rival = best.get(output.place)
        if output.logits.max() > 0 and (rival is None or output.predicted_iou > rival.predicted_iou):
            best[output.place] = output
    drawn = [Drawn(None, 0.0)] * len(hints)
    for place, output in best.items():
        drawn[place] = Drawn(paste(output.logits, output.window, width, height), output.predicted_iou)
    boxed = [
        NetworkInput(place, window, replace(hints[place], box=found.mask.xyxy))
        for place, found in enumerate(drawn)
        if found.mask is not None and (window := window_around(found.mask.xyxy, width, height)) is not None
    ]
    for output in _run(network, image, boxed):
        mask = paste(output.logits, output.window, width, height)
        if mask is not None:
            drawn[output.place] = Drawn(mask, output.predicted_iou)
    return drawn


def _point_hints(points: NDArray[np.float64], labels: NDArray[np.int64], width: int, height: int) -> Hints:
    on, off = ([(float(x), float(y)) for x, y in points[labels == label]] for label in (1, 0))
    return Hints(on=tuple((x, y) for x, y in on if 0 <= x <= width and 0 <= y <= height), off=tuple(off))


def _point_windows(on: Sequence[Point], width: int, height: int, side: int) -> list[Window]:
    """Squares of several sizes around points on an object; none without points."""
    if not on:
        return []
    x, y = zip(*on, strict=True)
    least = max(POINT_REACH * max(max(x) - min(x), max(y) - min(y)), _SMALLEST_POINT_WINDOW * side)
    sides = dict.fromkeys(max(share * max(width, height), least) for share in POINT_WINDOWS)
    return [square_around(((min(x) + max(x)) / 2, (min(y) + max(y)) / 2), each) for each in sides]


def square_around(centre: Point, side: float) -> Window:
    """The window of about that side around a point."""
    x, y = centre
    return Window(math.floor(x - side / 2), math.floor(y - side / 2), math.ceil(x + side / 2), math.ceil(y + side / 2))


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """What the network reads of one object.

    Attributes:
        place: Index of the object among those given.
        window: The rectangle of the frame that the network reads.
        hints: What is known of the object.
    """

    place: int
    window: Window
    hints: Hints


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutput:
    """The network's output for one object.

    Attributes:
        place: Index of the object among those given.
        window: The rectangle of the frame that the network reads.
        logits: Shape (side, side) of the network, above zero on the object.
        predicted_iou: Expected intersection over union with the true mask, 0 to 1.
    """

    place: int
    window: Window
    logits: Plane
    predicted_iou: float


def run_network(
    network: Network, image: Image, boxes: Sequence[Box], priors: Sequence[Mask | None]
) -> Iterator[NetworkOutput]:
    """Run the network on the boxes that lie in the frame; arguments as in `draw_masks`."""
    height, width = image.shape[:2]
    windows = [window_around(box, width, height) for box in boxes]
    return _run(
        network,
        image,
        [
            NetworkInput(place, window, Hints(boxes[place], priors[place]))
            for place, window in enumerate(windows)
            if window is not None
        ],
    )


def _run(network: Network, image: Image, inputs: Sequence[NetworkInput]) -> Iterator[NetworkOutput]:
    for first in range(0, len(inputs), _BATCH):
        batch = inputs[first : first + _BATCH]
        pictures = normalise([crop(image, each.window, network.side) for each in batch])
        hints = np.stack([each.hints.planes(each.window, network.side) for each in batch])
        logits, qualities = network(pictures, hints)
        for each, logit, quality in zip(batch, logits, qualities, strict=True):
            yield NetworkOutput(each.place, each.window, logit, float(quality))


def _prefer_prior(drawn: Mask | None, prior: Mask | None, predicted_iou: float) -> Mask | None:
    """Keep the prior unless the drawn mask differs from it by more than the network's expected error."""
    return prior if drawn is not None and prior is not None and drawn.iou(prior) >= predicted_iou else drawn


def normalise(crops: Sequence[Image]) -> Batch:
    """Convert crops of shape (side, side, 3), uint8, to the network's pictures: (n, 3, side, side), about -1 to 1."""
    pictures = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
    pictures -= 127
    pictures /= 128
    return pictures
