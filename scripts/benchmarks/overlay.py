"""Cost of drawing ten masks with boxes and labels on a frame, beside supervision's annotators, on one core."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import msgspec
import numpy as np
import supervision as sv

from benchmarks.measure import medians_ms
from benchmarks.ten_masks import ten_masks
from streamseg.colours import default_colour
from streamseg.messages import Image
from streamseg.render import Colour, Sizes, label_text, paint, render
from streamseg.render_settings import RenderSettings
from streamseg.result import Result


class OverlayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of one run; every drawing starts with a copy of the frame.

    Attributes:
        masks: Masks drawn, each of 200x300 pixels, on a frame of 1280x720.
        overlay_ms: streamseg: masks, boxes, labels and the line at the lower edge.
        supervision_ms: supervision: masks, boxes and labels, with masks given as rectangles (`CompactMask`).
        supervision_dense_ms: The same, with masks given as whole frames.
        largest_difference: Largest difference of a channel between the two pictures above the line, in levels.
    """

    masks: int
    overlay_ms: float
    supervision_ms: float
    supervision_dense_ms: float
    largest_difference: int


class SupervisionOverlay:
    """Draws a result's objects with supervision's annotators, at streamseg's settings.

    Args:
        result: At least one object, each with a mask and room for its label.
    """

    def __init__(self, result: Result) -> None:
        sizes = Sizes.of(result.height, result.width)
        opacity = RenderSettings().opacity
        paints = [paint(item.colour or default_colour(item), opacity) for item in result.objects]
        colours = _palette([one.colour for one in paints])
        self._masks = sv.MaskAnnotator(colours, opacity=opacity)
        self._boxes = sv.BoxAnnotator(colours, thickness=sizes.thickness)
        self._labels = sv.LabelAnnotator(
            colours,
            text_color=_palette([one.text for one in paints]),
            text_scale=sizes.text_scale,
            text_thickness=sizes.text_thickness,
            text_padding=sizes.padding,
        )
        self._texts = [label_text(item) for item in result.objects]
        self._colours = np.arange(len(result.objects))

    def draw(self, image: Image, detections: sv.Detections) -> Image:
        """Draw the objects, given as detections, on a copy of the frame."""
        scene = image.copy()
        self._masks.annotate(scene, detections, self._colours)
        self._boxes.annotate(scene, detections, self._colours)
        self._labels.annotate(scene, detections, self._texts, self._colours)
        return scene


def bench_overlay(rounds: int = 100) -> OverlayFigures:
    """Time each drawing once a round, with one thread."""
    cv2.setNumThreads(1)
    result = ten_masks()
    image = np.random.default_rng(0).integers(0, 256, (result.height, result.width, 3), np.uint8)
    rival, compact, dense = SupervisionOverlay(result), result.to_detections(), result.to_detections()
    dense.mask = np.stack(
        [item.mask.paste(result.height, result.width) for item in result.objects if item.mask is not None]
    )
    ours, theirs, theirs_dense = medians_ms(
        [lambda: render(image, result), lambda: rival.draw(image, compact), lambda: rival.draw(image, dense)], rounds
    )
    above = slice(result.height - Sizes.of(result.height, result.width).line_height)
    return OverlayFigures(
        masks=len(result.objects),
        overlay_ms=ours,
        supervision_ms=theirs,
        supervision_dense_ms=theirs_dense,
        largest_difference=int(cv2.absdiff(render(image, result)[above], rival.draw(image, compact)[above]).max()),
    )


def _palette(colours: Sequence[Colour]) -> sv.ColorPalette:
    return sv.ColorPalette([sv.Color.from_bgr_tuple(colour) for colour in colours])
