"""Masks made on keyframes, with what is needed to propagate them to other frames."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.geometry import Box
from streamseg.masks import Mask
from streamseg.messages import NONE, SEGMENTED, Detection, Image, ObjectMask, TrackedObject
from streamseg.propagate.appearance import Appearance, colour_logits
from streamseg.propagate.crop import FLOW_SIDE, blurred, resized
from streamseg.window import Plane, crop, mask_plane, window_around

TEMPLATE_SIDE: Final = 192
"""Side of a template, in pixels. Crops are at most a little larger (`_SIDES` of `propagator`)."""
_SOFTEST = 3 / 128
"""Blur of the least certain outline: standard deviation, as a share of the side. ΔIoU ≤ 0.001."""
_DOUBT = 3
"""Power of the share of right pixels nearby: how strongly evidence that was wrong is mistrusted. ΔIoU ≤ 0.007."""
_UNKNOWN = 0.4
"""Trust in the refiner if it did not run on the keyframe, 0 to 1. Chosen by hand."""
_NEARBY = 1 / 32
"""What counts as nearby: standard deviation, as a share of the side. ΔIoU ≤ 0.003."""

Refine = Callable[[Image, Sequence[Box]], Sequence[Plane]]
"""The refiner: from a frame and boxes to the log-odds of each pixel of each box's square (`streamseg.window`); all zero
for a box outside the frame."""


@dataclass(frozen=True, slots=True)
class FrameTime:
    """A frame's number, and its presentation time in nanoseconds."""

    seq: int
    pts_ns: int


@dataclass(frozen=True, eq=False)
class Template:
    """An object's square on its keyframe: what propagation warps to other frames.

    Attributes:
        planes: Shape (TEMPLATE_SIDE, TEMPLATE_SIDE, 4), uint8, 255 for 1: how much of each pixel the mask covers; the
            same, blurred; trust in colours; trust in the refiner.
        appearance: The colours of the object and its surroundings.
    """

    planes: NDArray[np.uint8]
    appearance: Appearance

    @functools.cached_property
    def halved(self) -> NDArray[np.uint8]:
        """The planes in half of the resolution, which is enough for small crops."""
        size = (TEMPLATE_SIDE // 2, TEMPLATE_SIDE // 2)
        return np.asarray(cv2.resize(self.planes, size, interpolation=cv2.INTER_AREA), np.uint8)

    @functools.cached_property
    def share(self) -> Plane:
        """How much of each cell of flow the mask covers: shape (FLOW_SIDE, FLOW_SIDE), 0 to 1."""
        share = cv2.resize(self.planes[..., 0], (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(share, np.float32) * np.float32(1 / 255)

    @functools.cached_property
    def filled(self) -> float:
        """How much of the square the mask covers: 0 to 1."""
        return float(self.share.mean())


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeMask:
    """The segmenter's mask of one object on a keyframe.

    Attributes:
        frame: The keyframe.
        detection: The object on it.
        mask: None if the segmenter found none.
        predicted_iou: As in `ObjectMask`.
        stability: As in `ObjectMask`.
        template: None if there is no mask, or it is not to be propagated.
    """

    frame: FrameTime
    detection: Detection
    mask: Mask | None
    predicted_iou: float | None = None
    stability: float | None = None
    template: Template | None = None

    def as_object(self, detection: Detection) -> TrackedObject:
        """The object as published with the keyframe itself."""
        return TrackedObject(
            detection=detection,
            mask=self.mask,
            method=NONE if self.mask is None else SEGMENTED,
            origin_seq=None if self.mask is None else self.frame.seq,
            predicted_iou=self.predicted_iou,
            stability=self.stability,
        )


def make_keyframe_masks(
    frame: FrameTime,
    image: Image,
    detections: Sequence[Detection],
    results: Sequence[ObjectMask],
    refine: Refine | None = None,
) -> list[KeyframeMask]:
    """Prepare the masks of a keyframe for propagation.

    Args:
        frame: The keyframe.
        image: Its pixels, shape (height, width, 3), uint8, BGR.
        detections: Its objects.
        results: The segmenter's result for each.
        refine: Runs once on all objects with a mask, to measure how well it sees each of them.
    """
    masked = [place for place, result in enumerate(results) if result.mask is not None]
    logits: list[Plane | None] = [None] * len(detections)
    if refine is not None:
        for place, refined in zip(masked, refine(image, [detections[place].xyxy for place in masked]), strict=True):
            logits[place] = refined
    return [
        KeyframeMask(
            frame,
            detection,
            result.mask,
            result.predicted_iou,
            result.stability,
            None if result.mask is None else make_template(image, detection.xyxy, result.mask, refined),
        )
        for detection, result, refined in zip(detections, results, logits, strict=True)
    ]


def make_template(image: Image, box: Box, mask: Mask, refined: Plane | None = None) -> Template | None:
    """Make a template of an object; None if its box lies outside the frame.

    Args:
        image: The frame, shape (height, width, 3), uint8, BGR.
        box: The object's box, in pixels of the frame.
        mask: Its mask, which may leave the box.
        refined: The refiner's log-odds for the object (see `Refine`). Where they contradict the mask, later
            frames mistrust them.
    """
    window = window_around(box, image.shape[1], image.shape[0])
    if window is None:
        return None
    share = mask_plane(mask, window, TEMPLATE_SIDE)
    picture = crop(image, window, TEMPLATE_SIDE)
    appearance = Appearance.of(picture, share)
    by_colour = _trust(colour_logits([appearance], picture[None])[0], share)
    by_refiner = (
        np.full_like(share, _UNKNOWN) if refined is None else _trust(resized([refined], TEMPLATE_SIDE)[0], share)
    )
    planes = share, blurred([share], _SOFTEST * TEMPLATE_SIDE)[0], by_colour, by_refiner
    levels = cv2.merge([cv2.convertScaleAbs(plane, alpha=255) for plane in planes])
    return Template(np.asarray(levels, np.uint8), appearance)


def _trust(logits: Plane, share: Plane) -> Plane:
    """How far log-odds agree with the mask, around each pixel: 0 to 1."""
    right = 1 / (1 + np.exp(-2 * logits * (2 * share - 1)))
    return np.asarray(cv2.pow(cv2.GaussianBlur(right, (0, 0), _NEARBY * TEMPLATE_SIDE), _DOUBT), np.float32)
