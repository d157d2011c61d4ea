"""Draws a result like supervision's `MaskAnnotator`, `BoxAnnotator` and `LabelAnnotator`, but faster. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from streamseg.messages import Image, Result, TrackedObject

Colour = tuple[int, int, int]

_HEX = (
    "FF7A1A",
    "19C3FB",
    "FF3D6E",
    "3DDC84",
    "A15CFF",
    "FFD22E",
    "1FD1C1",
    "F25CC8",
    "4C7DFF",
    "B6E33B",
    "FF5A36",
    "7A4DFF",
)
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_OLD_MS = 100.0
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def _from_hex(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour)
    return blue, green, red


def _text_colour(colour: Colour) -> Colour:
    blue, green, red = colour
    return _BLACK if 0.3 * red + 0.59 * green + 0.11 * blue > 130 else _WHITE


def _tint(colour: Colour) -> NDArray[np.float32]:
    """The blend with a colour as an affine map of a pixel's channels: shape (3, 4)."""
    return np.hstack([(1 - OPACITY) * np.eye(3), OPACITY * np.array([colour]).T]).astype(np.float32)


OPACITY: Final = 0.45
"""Opacity of a mask."""
COLOURS: Final = tuple(map(_from_hex, _HEX))
"""Colours of objects in BGR."""
TEXT_COLOURS: Final = tuple(map(_text_colour, COLOURS))
"""Text colour on each of `COLOURS`."""
_TINTS: Final = tuple(map(_tint, COLOURS))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of what is drawn, in pixels.

    Attributes:
        thickness: Of the lines of a box.
        text_scale: Of the font, in OpenCV's unit.
        padding: Around the text of a label.
        line_height: Of the status line at the bottom.
        line_margin: Around the text of the status line.
    """

    thickness: int
    text_scale: float
    padding: int
    line_height: int
    line_margin: int

    @classmethod
    def of(cls, height: int, width: int) -> Self:
        """Sizes for a frame, proportional to its shorter side."""
        scale = max(min(width, height) / 720, 0.5)
        return cls(
            thickness=max(round(2 * scale), 1),
            text_scale=0.5 * scale,
            padding=max(round(4 * scale), 2),
            line_height=min(round(26 * scale), height),
            line_margin=max(round(8 * scale), 4),
        )


def render(image: Image, result: Result) -> Image:
    """Draw the mask, box and label of every object, and a status line with the names of the models.

    The colour follows the `tracker_id`, or the class of an object without one. Where masks overlap, the smallest is on
    top. The status line gives the age of the oldest mask if it is above 100 ms.

    Args:
        image: The frame of the result: shape (height, width, 3), uint8, BGR. It is not changed.
        result: Boxes and masks in pixels of that frame; parts outside it are not drawn.

    Returns:
        A new image of the same shape.

    Raises:
        ValueError: The image and the result have different sizes.
    """
    if image.shape[:2] != (result.height, result.width):
        raise ValueError(f"the result is of a {result.width}x{result.height} frame, the image has shape {image.shape}")
    scene = image.copy()
    sizes = Sizes.of(result.height, result.width)
    _draw_masks(scene, image, result.objects)
    boxes = [(item, *_corners(item, result)) for item in result.objects]
    for item, upper_left, lower_right in boxes:
        cv2.rectangle(scene, upper_left, lower_right, COLOURS[colour_index(item)], sizes.thickness)
    for item, upper_left, _ in boxes:
        _draw_label(scene, item, upper_left, sizes)
    _draw_status(scene, _status(result), sizes)
    return scene


def colour_index(item: TrackedObject) -> int:
    """Index of the object's colour in `COLOURS`."""
    detection = item.detection
    return (detection.class_id if detection.tracker_id is None else detection.tracker_id) % len(COLOURS)


def _draw_masks(scene: Image, image: Image, objects: Sequence[TrackedObject]) -> None:
    """Blend each mask with the original frame, the largest first, so that smaller masks end up on top."""
    masked = [(item.mask, _TINTS[colour_index(item)]) for item in objects if item.mask is not None]
    for mask, tint in sorted(masked, key=lambda pair: pair[0].area, reverse=True):
        rectangle = np.s_[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
        target = scene[rectangle]
        if target.size:
            inside = mask.bits[: target.shape[0], : target.shape[1]].view(np.uint8)
            cv2.copyTo(cv2.transform(image[rectangle], tint), inside, target)


def _corners(item: TrackedObject, result: Result) -> tuple[tuple[int, int], tuple[int, int]]:
    """The top left and bottom right pixel of the box, inside the frame."""
    left, top, right, bottom = item.detection.xyxy
    x_limit, y_limit = result.width - 1, result.height - 1
    return (_between(left, x_limit), _between(top, y_limit)), (_between(right, x_limit), _between(bottom, y_limit))


def _between(value: float, limit: int) -> int:
    return int(min(max(value, 0), limit))


def _draw_label(scene: Image, item: TrackedObject, corner: tuple[int, int], sizes: Sizes) -> None:
    """Draw the label above the top left corner of the box, moved if necessary to lie inside the frame."""
    text, colour = label_text(item), colour_index(item)
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, sizes.text_scale, 1)
    width, height = text_width + 2 * sizes.padding, text_height + 2 * sizes.padding
    left, bottom = min(corner[0], max(scene.shape[1] - width, 0)), max(corner[1], height)
    cv2.rectangle(scene, (left, bottom - height), (left + width, bottom), COLOURS[colour], cv2.FILLED)
    start = (left + sizes.padding, bottom - sizes.padding)
    cv2.putText(scene, text, start, _FONT, sizes.text_scale, TEXT_COLOURS[colour], 1, cv2.LINE_AA)


def label_text(item: TrackedObject) -> str:
    """The label of an object: class, track and confidence."""
    detection = item.detection
    track = "" if detection.tracker_id is None else f" #{detection.tracker_id}"
    return f"{_printable(detection.class_name)}{track} {detection.confidence:.0%}"


def _status(result: Result) -> str:
    models = result.models
    oldest = max((item.age_ms for item in result.objects if item.mask is not None), default=0.0)
    parts = [f"{models.detector} + {models.segmenter}"]
    if oldest > _OLD_MS:
        parts.append(f"masks up to {oldest / 1000:.1f} s old")
    if models.notice:
        parts.append(_printable(models.notice))
    return "  |  ".join(parts)


def _printable(text: str) -> str:
    """The text on one line without control characters; OpenCV 5 crashes on text that is not Unicode."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _draw_status(scene: Image, text: str, sizes: Sizes) -> None:
    height, width = scene.shape[:2]
    size, margin = sizes.text_scale, sizes.line_margin
    text_width = cv2.getTextSize(text, _FONT, size, 1)[0][0]
    while text_width > width - 2 * margin and len(text) > 4:
        text = text[: max(int(len(text) * (width - 2 * margin) / text_width) - 3, 1)].rstrip() + "..."
        text_width = cv2.getTextSize(text, _FONT, size, 1)[0][0]
    bar = scene[height - sizes.line_height :, : text_width + 2 * margin]
    cv2.convertScaleAbs(bar, dst=bar, alpha=0.35)
    cv2.putText(scene, text, (margin, height - margin), _FONT, size, _WHITE, 1, cv2.LINE_AA)
