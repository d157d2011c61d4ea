"""Draws a result like supervision's `MaskAnnotator`, `BoxAnnotator` and `LabelAnnotator`, but faster. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.colours import default_colour
from streamseg.labels import LabelPlaces, Rectangle
from streamseg.messages import Image, ResultMessage, TrackedObject
from streamseg.printable import printable
from streamseg.render_settings import RenderSettings

Colour = tuple[int, int, int]
"""Blue, green and red, 0 to 255."""

_BLACK, _WHITE, _AMBER = (0, 0, 0), (255, 255, 255), (60, 200, 255)
_DEFAULTS: Final = RenderSettings()
_OLD_MS = 100.0
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_LEAST_TEXT_SCALE = 0.4
"""Capital letters are then 9 pixels high, the least that is read easily."""
_LARGEST_DARK_LUMINANCE = 0.179
"""Relative luminance at which black and white text have the same contrast."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of what is drawn, in pixels.

    Attributes:
        thickness: Of the lines of a box.
        text_scale: Of the font, in OpenCV's unit.
        text_thickness: Of the lines of a letter.
        padding: Around the text of a label.
        line_height: Of a status line at the bottom.
        line_margin: Around the text of a status line.
    """

    thickness: int
    text_scale: float
    text_thickness: int
    padding: int
    line_height: int
    line_margin: int

    @classmethod
    def of(cls, height: int, width: int, scale: float = 1.0) -> Self:
        """Sizes for a frame, proportional to its shorter side, but text never too small to read."""
        scale *= max(min(width, height) / 720, 0.5)
        text_scale = max(0.5 * scale, _LEAST_TEXT_SCALE)
        return cls(
            thickness=max(round(2 * scale), 1),
            text_scale=text_scale,
            text_thickness=max(int(scale), 1),
            padding=max(round(4 * scale), 2),
            line_height=max(min(round(52 * text_scale), height), 1),
            line_margin=max(round(8 * scale), 4),
        )


def render(image: Image, result: ResultMessage, settings: RenderSettings = _DEFAULTS) -> Image:
    """Draw the mask, box and label of every object, and status lines: the names of the models, and what is wrong.

    An object without a colour has that of its `tracker_id`, or else of its class. Where masks overlap, the smallest is
    on top. Labels do not cover each other: one that has no free place near its box is left out.
    The status line gives the age of the oldest mask if it is above 100 ms.

    Args:
        image: The frame of the result: shape (height, width, 3), uint8, BGR. It is not changed.
        result: Boxes and masks in pixels of that frame; parts outside it are not drawn.
        settings: What to draw.

    Returns:
        A new image of the same shape.

    Raises:
        ValueError: The image and the result have different sizes.
    """
    if image.shape[:2] != (result.height, result.width):
        raise ValueError(f"the result is of a {result.width}x{result.height} frame, the image has shape {image.shape}")
    scene = image.copy()
    sizes = Sizes.of(result.height, result.width, settings.scale)
    drawn = [
        _Drawn(item, paint(item.colour or default_colour(item), settings.opacity), box)
        for item, box in zip(result.objects, _corners(result), strict=True)
    ]
    if settings.masks:
        _draw_masks(scene, image, drawn)
    if settings.boxes:
        for _, (colour, *_), (left, top, right, bottom) in drawn:
            cv2.rectangle(scene, (left, top), (right - 1, bottom - 1), colour, sizes.thickness)
    lines = _status(result) if settings.status else []
    if settings.labels:
        _draw_labels(scene, drawn, result.height - len(lines) * sizes.line_height, sizes)
    _draw_status(scene, lines, sizes)
    return scene


class _Drawn(NamedTuple):
    """An object, its paint, and the pixels of its box inside the frame."""

    item: TrackedObject
    paint: Paint
    box: Rectangle


class Paint(NamedTuple):
    """What is needed to draw in a colour.

    Attributes:
        colour: Of lines and areas.
        text: On areas of that colour: black or white, what is easier to read.
        tint: The blend with the colour as an affine map of a pixel's channels: shape (3, 4).
    """

    colour: Colour
    text: Colour
    tint: NDArray[np.float32]


@lru_cache(maxsize=64)
def paint(colour: str, opacity: float) -> Paint:
    """The paint of a colour, given as `#rrggbb`, for masks of that opacity."""
    red, green, blue = bytes.fromhex(colour[1:])
    luminance = np.dot((0.2126, 0.7152, 0.0722), (np.array((red, green, blue)) / 255) ** 2.2)
    rest = 1 - opacity
    rows = [[rest, 0, 0, opacity * blue], [0, rest, 0, opacity * green], [0, 0, rest, opacity * red]]
    return Paint(
        (blue, green, red), _BLACK if luminance > _LARGEST_DARK_LUMINANCE else _WHITE, np.array(rows, np.float32)
    )


def label_text(item: TrackedObject) -> str:
    """The label of an object: class, track and confidence."""
    detection = item.detection
    track = "" if detection.tracker_id is None else f" #{detection.tracker_id}"
    return f"{printable(detection.class_name)}{track} {detection.confidence:.0%}"


def _draw_masks(scene: Image, image: Image, drawn: Sequence[_Drawn]) -> None:
    """Blend each mask with the original frame, the largest first, so that smaller masks end up on top."""
    masked = [(item.mask, paint.tint) for item, paint, _ in drawn if item.mask is not None]
    for mask, tint in sorted(masked, key=lambda pair: pair[0].area, reverse=True):
        rectangle = np.s_[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
        target = scene[rectangle]
        if target.size:
            inside = mask.bits[: target.shape[0], : target.shape[1]].view(np.uint8)
            cv2.copyTo(cv2.transform(image[rectangle], tint), inside, target)


def _corners(result: ResultMessage) -> list[Rectangle]:
    """The pixels of each object's box inside the frame; at least one."""
    if not result.objects:
        return []
    boxes = np.array([item.detection.xyxy for item in result.objects]).reshape(-1, 2, 2)
    corners = np.clip(boxes, 0, (result.width - 1, result.height - 1)).astype(int)
    corners[:, 1] += 1
    return [Rectangle(*each) for each in corners.reshape(-1, 4).tolist()]


def _draw_labels(scene: Image, drawn: Sequence[_Drawn], height: int, sizes: Sizes) -> None:
    """Draw the labels in the upper `height` pixels. Older tracks choose first, so that their labels stay in place."""
    scale, thickness, padding = sizes.text_scale, sizes.text_thickness, sizes.padding
    places = LabelPlaces(scene.shape[1], max(height, 0))
    for item, (colour, text_colour, _), box in sorted(drawn, key=lambda one: one.item.detection.tracker_id or math.inf):
        text = label_text(item)
        text_width, text_height = _text_size(text, scale, thickness)
        place = places.take(box, text_width + 2 * padding + 1, text_height + 2 * padding + 1)
        if place is not None:
            left, top, right, bottom = place
            cv2.rectangle(scene, (left, top), (right - 1, bottom - 1), colour, cv2.FILLED)
            start = (left + padding, bottom - 1 - padding)
            cv2.putText(scene, text, start, _FONT, scale, text_colour, thickness, cv2.LINE_AA)


@lru_cache(maxsize=1024)
def _text_size(text: str, scale: float, thickness: int) -> tuple[int, int]:
    """Width and height in pixels. Most labels are those of the frame before."""
    width, height = cv2.getTextSize(text, _FONT, scale, thickness)[0]
    return width, height


def _status(result: ResultMessage) -> list[str]:
    """The status lines from top to bottom: what is wrong, then the models and the age of the oldest mask."""
    models = result.models
    oldest = max((item.age_ms for item in result.objects if item.mask is not None), default=0.0)
    parts = [f"{models.detector} + {models.segmenter}"]
    if oldest > _OLD_MS:
        parts.append(f"masks up to {oldest / 1000:.1f} s old")
    return ([printable(models.notice)] if models.notice else []) + [printable("  |  ".join(parts))]


def _draw_status(scene: Image, lines: Sequence[str], sizes: Sizes) -> None:
    for place, text in enumerate(reversed(lines)):
        bottom = scene.shape[0] - place * sizes.line_height
        if bottom > 0:
            _draw_line(scene[max(bottom - sizes.line_height, 0) : bottom], text, _AMBER if place else _WHITE, sizes)


def _draw_line(strip: Image, text: str, colour: Colour, sizes: Sizes) -> None:
    """Write on a strip of the picture, which is darkened as far as the text reaches."""
    (height, width), size, margin = strip.shape[:2], sizes.text_scale, sizes.line_margin
    text_width, _ = _text_size(text, size, sizes.text_thickness)
    while text_width > width - 2 * margin and len(text) > 4:
        text = text[: max(int(len(text) * (width - 2 * margin) / text_width) - 3, 1)].rstrip() + "..."
        text_width, _ = _text_size(text, size, sizes.text_thickness)
    bar = strip[:, : text_width + 2 * margin]
    cv2.convertScaleAbs(bar, dst=bar, alpha=0.35)
    cv2.putText(strip, text, (margin, height - margin), _FONT, size, colour, sizes.text_thickness, cv2.LINE_AA)
