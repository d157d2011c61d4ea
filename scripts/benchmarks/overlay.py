"""What drawing costs: ten masks with their boxes and labels on a frame, beside supervision's annotators, on one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import cv2
import msgspec
import numpy as np
import supervision as sv

from benchmarks.ten_masks import ten_masks
from streamseg.convert import to_detections
from streamseg.messages import Image, Result
from streamseg.render import COLOURS, OPACITY, TEXT_COLOURS, Colour, Sizes, colour_index, label_text, render


class OverlayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of one measurement; every drawing begins with a copy of the frame.

    Attributes:
        masks: Masks drawn, each in a rectangle of 200x300 pixels, on a frame of 1280x720.
        overlay_ms: Ours: masks, boxes, labels and the line at the lower edge.
        supervision_ms: supervision's masks, boxes and labels; it is given each mask as its rectangle (`CompactMask`).
        supervision_dense_ms: The same, but it is given each mask as a whole frame.
        largest_difference: Between the two pictures above the line: grey levels of the channel that differs most.
    """

    masks: int
    overlay_ms: float
    supervision_ms: float
    supervision_dense_ms: float
    largest_difference: int


class SupervisionOverlay:
    """The drawing of a result's objects by supervision's annotators at our settings.

    Args:
        result: At least one object, each with a mask; the labels' places are inside the frame.
    """

    def __init__(self, result: Result) -> None:
        sizes = Sizes.of(result.height, result.width)
        colours = _palette(COLOURS)
        self._masks = sv.MaskAnnotator(colours, opacity=OPACITY)
        self._boxes = sv.BoxAnnotator(colours, thickness=sizes.thickness)
        self._labels = sv.LabelAnnotator(
            colours, text_color=_palette(TEXT_COLOURS), text_scale=sizes.text_scale, text_padding=sizes.padding
        )
        self._texts = [label_text(item) for item in result.objects]
        self._colours = np.array([colour_index(item) for item in result.objects])

    def draw(self, image: Image, detections: sv.Detections) -> Image:
        """Draw on a copy of the frame; the detections are the result's objects."""
        scene = image.copy()
        self._masks.annotate(scene, detections, self._colours)
        self._boxes.annotate(scene, detections, self._colours)
        self._labels.annotate(scene, detections, self._texts, self._colours)
        return scene


def bench_overlay(rounds: int = 100) -> OverlayFigures:
    """Measure in rounds, each drawing once a round, with one thread.

    Args:
        rounds: Times that each drawing is done.
    """
    cv2.setNumThreads(1)
    result = ten_masks()
    image = np.random.default_rng(0).integers(0, 256, (result.height, result.width, 3), np.uint8)
    rival, compact, dense = SupervisionOverlay(result), to_detections(result), to_detections(result)
    dense.mask = np.stack(
        [item.mask.paste(result.height, result.width) for item in result.objects if item.mask is not None]
    )
    ours, theirs, theirs_dense = _medians_ms(
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


def _medians_ms(drawings: Sequence[Callable[[], Image]], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in drawings]
    for _ in range(rounds):
        for draw, spent in zip(drawings, times, strict=True):
            start = time.perf_counter()
            draw()
            spent.append(time.perf_counter() - start)
    return [1000 * statistics.median(spent) for spent in times]


def _palette(colours: Sequence[Colour]) -> sv.ColorPalette:
    return sv.ColorPalette([sv.Color.from_bgr_tuple(colour) for colour in colours])
