"""From a frame and boxes to masks: one function of arrays, with or without a prior mask for each box."""

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

Batch = NDArray[np.float32]
Network = Callable[[Batch, Batch], tuple[Batch, Batch]]
"""Pictures of shape (n, 3, SIDE, SIDE) and hints of the same shape to mask logits (n, SIDE, SIDE) and predicted IoU
(n,), 0 to 1."""

_BATCH = 16
"""Boxes per run: more take no less time each, and more memory."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The mask drawn for one box.

    Attributes:
        mask: None if the box lies outside the frame, or holds no object.
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


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutput:
    """The network's output for one box.

    Attributes:
        place: Index of the box among those given.
        window: The square of the frame that the network reads.
        logits: Shape (SIDE, SIDE), above zero on the object.
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
    seen = [(place, window) for place, window in enumerate(windows) if window is not None]
    for first in range(0, len(seen), _BATCH):
        batch = seen[first : first + _BATCH]
        pictures = normalise([crop(image, window, SIDE) for _, window in batch])
        hints = np.stack([hint_planes(boxes[place], window, priors[place]) for place, window in batch])
        logits, qualities = network(pictures, hints)
        for (place, window), logit, quality in zip(batch, logits, qualities, strict=True):
            yield NetworkOutput(place, window, logit, float(quality))


def _prefer_prior(drawn: Mask | None, prior: Mask | None, predicted_iou: float) -> Mask | None:
    """Keep the prior unless the drawn mask differs from it by more than the network's expected error."""
    return prior if drawn is not None and prior is not None and drawn.iou(prior) >= predicted_iou else drawn


def normalise(crops: Sequence[Image]) -> Batch:
    """Convert crops of shape (SIDE, SIDE, 3), uint8, to the network's pictures: (n, 3, SIDE, SIDE), about -1 to 1."""
    pictures = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
    pictures -= 127
    pictures /= 128
    return pictures


def hint_planes(box: Box, window: Window, prior: Mask | None) -> Batch:
    """The network's hints beside the picture: shape (3, SIDE, SIDE); see `NanoNetwork.forward`."""
    hints = np.zeros((3, SIDE, SIDE), np.float32)
    hints[0] = box_plane(box, window, SIDE)
    if prior is not None:
        hints[1] = mask_plane(prior, window, SIDE)
        hints[2] = 1
    return hints
