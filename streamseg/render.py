"""Draws a result on its frame. Pure: the frame given is left as it is."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import supervision as sv

from streamseg.masks import Mask
from streamseg.messages import Image, Result, TrackedObject

_COLOURS = (
    "#FF7A1A",
    "#19C3FB",
    "#FF3D6E",
    "#3DDC84",
    "#A15CFF",
    "#FFD22E",
    "#1FD1C1",
    "#F25CC8",
    "#4C7DFF",
    "#B6E33B",
    "#FF5A36",
    "#7A4DFF",
)
_PALETTE = sv.ColorPalette.from_hex(list(_COLOURS))
_TEXT_PALETTE = sv.ColorPalette([sv.Color.BLACK if 0.3 * c.r + 0.59 * c.g + 0.11 * c.b > 130 else sv.Color.WHITE for c in _PALETTE.colors])
_TINT = 0.45
_OLD_MS = 100.0
_SMOOTHING = 0.7
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def render(image: Image, result: Result) -> Image:
    """Draw every object's mask, outline, box and label, and a line that names the models.

    An object keeps its colour as long as it keeps its `tracker_id`; without one, the colour is that of its class. An object
    without a mask is drawn as a box. Where a mask is older than 100 ms the line says how old the oldest one is.

    Args:
        image: The frame that the result is of: shape (height, width, 3), uint8, BGR.
        result: Boxes and masks in pixels of that frame; what lies outside it is not drawn.

    Returns:
        A new image of the same shape.

    Raises:
        ValueError: The image has not the result's size.
    """
    if image.shape[:2] != (result.height, result.width):
        raise ValueError(f"the result is of a {result.width}x{result.height} frame, not of one of shape {image.shape}")
    scene = image.copy()
    scale = max(min(result.width, result.height) / 720, 0.5)
    by_size = sorted(result.objects, key=lambda item: item.mask.area if item.mask else 0, reverse=True)
    for item in by_size:
        if item.mask is not None:
            _draw_mask(scene, item.mask, _PALETTE.by_idx(_colour_index(item)), max(round(2 * scale), 1))
    if by_size:
        _draw_boxes(scene, by_size, scale)
    _draw_line(scene, _line(result), scale)
    return scene


def _colour_index(item: TrackedObject) -> int:
    detection = item.detection
    return detection.class_id if detection.tracker_id is None else detection.tracker_id


def _draw_mask(scene: Image, mask: Mask, colour: sv.Color, thickness: int) -> None:
    region = scene[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
    bits = np.ascontiguousarray(mask.bits[: region.shape[0], : region.shape[1]]).view(np.uint8)
    if bits.size == 0:
        return
    blue, green, red = (channel * _TINT for channel in colour.as_bgr())
    dimmed = cv2.convertScaleAbs(region, alpha=1 - _TINT)
    tinted = cv2.add(dimmed, (blue, green, red, 0))  # type: ignore[call-overload]  # OpenCV takes a colour here; its stubs do not say so
    cv2.copyTo(tinted, bits, region)
    outlines, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    smooth = [cv2.approxPolyDP(outline, _SMOOTHING, True) for outline in outlines]  # a quarter of the time, and no stairs
    cv2.drawContours(scene, smooth, -1, colour.as_bgr(), thickness, cv2.LINE_AA, offset=(mask.x, mask.y))


def _draw_boxes(scene: Image, objects: Sequence[TrackedObject], scale: float) -> None:
    height, width = scene.shape[:2]
    boxes = np.array([item.detection.xyxy for item in objects], dtype=np.float64)
    boxes = np.clip(boxes, 0, [width - 1, height - 1, width - 1, height - 1])
    classes = np.array([item.detection.class_id for item in objects])
    colours = np.array([_colour_index(item) for item in objects])
    labels = [_label(item) for item in objects]
    size, padding = 0.5 * scale, max(round(4 * scale), 2)
    # A label stands on its box's upper left corner; the corner it is given is moved so that the whole label is in the frame.
    extents = np.array([cv2.getTextSize(label, _FONT, size, 1)[0] for label in labels]) + 2 * padding
    corners = np.column_stack([np.clip(boxes[:, 0], 0, np.maximum(width - extents[:, 0], 0)), np.maximum(boxes[:, 1], extents[:, 1])])
    sv.BoxAnnotator(color=_PALETTE, thickness=max(round(2 * scale), 1)).annotate(
        scene, sv.Detections(xyxy=boxes.astype(np.float32), class_id=classes), custom_color_lookup=colours
    )
    sv.LabelAnnotator(color=_PALETTE, text_color=_TEXT_PALETTE, text_scale=size, text_padding=padding).annotate(
        scene,
        sv.Detections(xyxy=np.hstack([corners, corners]).astype(np.float32), class_id=classes),
        labels,
        custom_color_lookup=colours,
    )


def _label(item: TrackedObject) -> str:
    detection = item.detection
    track = "" if detection.tracker_id is None else f" #{detection.tracker_id}"
    return f"{_printable(detection.class_name)}{track} {detection.confidence:.0%}"


def _line(result: Result) -> str:
    models = result.models
    oldest = max((item.age_ms for item in result.objects if item.mask is not None), default=0.0)
    parts = [f"{models.detector} + {models.segmenter}"]
    if oldest > _OLD_MS:
        parts.append(f"masks up to {oldest / 1000:.1f} s old")
    if models.notice:
        parts.append(_printable(models.notice))
    return "  |  ".join(parts)


def _printable(text: str) -> str:
    """The text on one line; OpenCV 5 crashes on what is not Unicode."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _draw_line(scene: Image, text: str, scale: float) -> None:
    height, width = scene.shape[:2]
    size, margin = 0.5 * scale, max(round(8 * scale), 4)
    text_width = cv2.getTextSize(text, _FONT, size, 1)[0][0]
    while text_width > width - 2 * margin and len(text) > 4:
        text = text[: max(int(len(text) * (width - 2 * margin) / text_width) - 3, 1)].rstrip() + "..."
        text_width = cv2.getTextSize(text, _FONT, size, 1)[0][0]
    bar = scene[height - min(round(26 * scale), height) :, : text_width + 2 * margin]
    cv2.convertScaleAbs(bar, dst=bar, alpha=0.35)
    cv2.putText(scene, text, (margin, height - margin), _FONT, size, (255, 255, 255), 1, cv2.LINE_AA)
