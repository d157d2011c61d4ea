"""From a frame and boxes to masks: one function of arrays, with or without masks that are known already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import Image
from streamseg.models.segmenters.nano import SIDE
from streamseg.window import Plane, Window, box_plane, crop, mask_plane, paste, window_around

Planes = NDArray[np.float32]
Network = Callable[[Planes, Planes], tuple[Planes, Planes]]
"""Pictures of shape (n, 3, SIDE, SIDE) and hints of the same shape to mask logits (n, SIDE, SIDE) and predicted IoU (n,), 0 to 1."""

_BATCH = 16
"""Boxes at once: more are no faster a box, and take more memory."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The network's answer for one box.

    Attributes:
        mask: None where the box lies outside the frame, or holds no object.
        predicted_iou: What intersection over union with the true mask is to be expected, 0 to 1.
    """

    mask: Mask | None
    predicted_iou: float


def draw_masks(
    network: Network, image: Image, boxes: Sequence[Box], priors: Sequence[Mask | None] | None = None
) -> list[Drawn]:
    """Draw the mask of the object in each box.

    Args:
        network: What computes.
        image: Shape (height, width, 3), uint8, BGR.
        boxes: In pixels of the frame; they may leave it.
        priors: For each box the mask that is believed to be there, such as one carried from an older frame, or None. One that agrees with
            what is drawn from it at least as well as that is expected to agree with the truth is the answer, unchanged.

    Returns:
        One answer for each box, in the order given.
    """
    height, width = image.shape[:2]
    given = [None] * len(boxes) if priors is None else priors
    drawn = [Drawn(None, 0.0)] * len(boxes)
    for answer in answers(network, image, boxes, given):
        mask = paste(answer.logits, answer.window, width, height)
        drawn[answer.place] = Drawn(_settled(mask, given[answer.place], answer.predicted_iou), answer.predicted_iou)
    return drawn


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the network says of one box.

    Attributes:
        place: Of the box among those given.
        window: What its square shows of the frame.
        logits: Shape (SIDE, SIDE), above zero on the object.
        predicted_iou: What intersection over union with the true mask is to be expected, 0 to 1.
    """

    place: int
    window: Window
    logits: Plane
    predicted_iou: float


def answers(network: Network, image: Image, boxes: Sequence[Box], priors: Sequence[Mask | None]) -> Iterator[Answer]:
    """The network's answers, before masks are drawn from them, for those boxes that lie in the frame; as `draw_masks`."""
    height, width = image.shape[:2]
    windows = [window_around(box, width, height) for box in boxes]
    seen = [(place, window) for place, window in enumerate(windows) if window is not None]
    for first in range(0, len(seen), _BATCH):
        batch = seen[first : first + _BATCH]
        pictures = normalise([crop(image, window, SIDE) for _, window in batch])
        hints = np.stack([hint_planes(boxes[place], window, priors[place]) for place, window in batch])
        logits, qualities = network(pictures, hints)
        for (place, window), logit, quality in zip(batch, logits, qualities, strict=True):
            yield Answer(place, window, logit, float(quality))


def _settled(answer: Mask | None, prior: Mask | None, predicted_iou: float) -> Mask | None:
    """The prior where nothing says that the answer is the better one."""
    return prior if answer is not None and prior is not None and answer.iou(prior) >= predicted_iou else answer


def normalise(crops: Sequence[Image]) -> Planes:
    """The network's pictures: crops of shape (SIDE, SIDE, 3), uint8, to (n, 3, SIDE, SIDE), about -1 to 1."""
    pictures = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
    pictures -= 127
    pictures /= 128
    return pictures


def hint_planes(box: Box, window: Window, prior: Mask | None) -> Planes:
    """What the network is told beside the picture: shape (3, SIDE, SIDE); see `NanoNetwork.forward`."""
    hints = np.zeros((3, SIDE, SIDE), np.float32)
    hints[0] = box_plane(box, window, SIDE)
    if prior is not None:
        hints[1] = mask_plane(prior, window, SIDE)
        hints[2] = 1
    return hints
