"""Makes a video of two halves from a clip: masks that stay in place until the next keyframe, and propagated masks.

Both halves have the same detector, tracker and segmenter. The segmenter gets a keyframe once in a while, and its masks
arrive late.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamseg.duplicates import merge_boxes
from streamseg.messages import Detection, Dropped, Frame, Image, Models, ResultMessage, Timings, TrackedObject
from streamseg.models import Detector, Segmenter
from streamseg.models.options import Compute, DetectorSettings, SegmenterSettings
from streamseg.models.registry import create_detector, create_segmenter
from streamseg.models.segmenters.nano.refiner import Refiner
from streamseg.monitor.progress import WorkDisplay
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_keyframe_masks
from streamseg.propagate.propagator import Budget, Propagator
from streamseg.render import render
from streamseg.sinks.video import VideoWriter
from streamseg.sources import SourceSettings
from streamseg.sources.file import FileSource
from streamseg.stages.tracking import LOW_SHARE, Tracker

_BUDGET = Budget(max_age_ns=6_000_000_000, missed_frames=5)
"""The pipeline's own for a live source."""
_CONFIDENCE = 0.25
_FROZEN, _PROPAGATED = "frozen until the next keyframe", "propagated to every frame"
_CAPTION_HEIGHT, _CAPTION_SCALE = 56, 1.2
_STILL_WIDTH, _STILL_QUALITY = 1280, 80


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What is compared.

    Attributes:
        clip: A video file.
        output: The video to write; an existing one is overwritten.
        start_s: First second of the clip.
        duration_s: Seconds of the clip.
        stills: Frames of the output also written as `OUTPUT-N.jpg`.
        detector: Name or file of the detector.
        segmenter: Name of the segmenter.
        weights: Weights of the segmenter other than the official.
        interval: Frames between keyframes.
        latency: Frames until the masks of a keyframe arrive.
    """

    clip: Path
    output: Path
    start_s: float
    duration_s: float
    stills: tuple[int, ...]
    detector: str
    segmenter: str
    weights: Path | None
    interval: int
    latency: int


def compare(options: CompareOptions) -> None:
    """Write the video and the stills."""
    source = FileSource(SourceSettings(url=str(options.clip)))
    fps = source.info.fps or 30.0
    count = round(options.duration_s * fps)
    halves = _Halves(options)
    with VideoWriter(options.output) as video, WorkDisplay("comparing", count) as display:
        frames = islice(_frames(source, round(options.start_s * fps)), count)
        for seq, frame in enumerate(frames):
            image = halves.draw(seq, frame)
            video.write(image, frame.pts_ns)
            if seq in options.stills:
                _write_still(options.output.with_name(f"{options.output.stem}-{seq}.jpg"), image)
            display.update(seq + 1)


def _frames(source: FileSource, start: int) -> Iterator[Frame]:
    yield from (frame for frame in source.frames(start, threading.Event()) if isinstance(frame, Frame))


class _Halves:
    """Draws each frame with both kinds of masks."""

    def __init__(self, options: CompareOptions) -> None:
        weights = None if options.weights is None else str(options.weights)
        self._detector: Detector = create_detector(
            DetectorSettings(model=options.detector, conf=LOW_SHARE * _CONFIDENCE), Compute(threads=1)
        )
        segmenter = create_segmenter(SegmenterSettings(model=options.segmenter, weights=weights), Compute())
        self._models = Models(detector=self._detector.name, segmenter=segmenter.name)
        self._segmenter = _LateSegmenter(segmenter, options.interval, options.latency)
        self._tracker = Tracker(_CONFIDENCE)
        self._propagator = Propagator(_BUDGET, Refiner())
        self._newest: tuple[KeyframeMask, ...] = ()

    def draw(self, seq: int, frame: Frame) -> Image:
        """Draw a frame twice, side by side: shape (height + caption, 2 * width, 3), uint8, BGR."""
        time = FrameTime(seq, frame.pts_ns)
        detections = self._tracker.update(frame.image, merge_boxes(self._detector.detect(frame.image)), frame.pts_ns)
        arrived = self._segmenter.update(time, frame.image, detections)
        if arrived is not None:
            self._newest = arrived
            self._propagator.add(arrived)
        propagated = self._propagator.update(time, frame.image, detections)
        self._propagator.refine()
        frozen = tuple(_frozen(mask, time) for mask in self._newest)
        halves = ((frozen, _FROZEN), (propagated, _PROPAGATED))
        return np.hstack(
            [_captioned(render(frame.image, self._result(seq, frame, objects)), text) for objects, text in halves]
        )

    def _result(self, seq: int, frame: Frame, objects: tuple[TrackedObject, ...]) -> ResultMessage:
        return ResultMessage(
            run_id="",
            epoch=0,
            seq=seq,
            source="clip",
            width=frame.width,
            height=frame.height,
            pts_ns=frame.pts_ns,
            t_capture_unix_ns=frame.t_capture_unix_ns,
            timings=Timings(),
            dropped=Dropped(),
            models=self._models,
            boxes_seq=seq,
            objects=objects,
        )


@dataclass
class _LateSegmenter:
    """Segments every `interval`-th frame; its masks arrive `latency` frames later."""

    segmenter: Segmenter[Any]
    interval: int
    latency: int
    _pending: deque[tuple[int, tuple[KeyframeMask, ...]]] = field(default_factory=deque)

    def update(self, time: FrameTime, image: Image, detections: Sequence[Detection]) -> tuple[KeyframeMask, ...] | None:
        """Segment the frame if it is a keyframe; return the masks that arrive with it, if any."""
        if time.seq % self.interval == 0:
            drawn = self.segmenter.decode(self.segmenter.encode(image), detections)
            masks = tuple(make_keyframe_masks(time, image, detections, drawn))
            self._pending.append((time.seq + self.latency, masks))
        return self._pending.popleft()[1] if self._pending and self._pending[0][0] <= time.seq else None


def _frozen(mask: KeyframeMask, now: FrameTime) -> TrackedObject:
    """Return the object as it was on the keyframe, box and mask."""
    return replace(mask.as_object(mask.detection), age_ms=(now.pts_ns - mask.frame.pts_ns) / 1e6)


def _captioned(image: Image, text: str) -> Image:
    bar = np.zeros((_CAPTION_HEIGHT, image.shape[1], 3), np.uint8)
    place = (16, _CAPTION_HEIGHT - 18)
    cv2.putText(bar, text, place, cv2.FONT_HERSHEY_SIMPLEX, _CAPTION_SCALE, (255, 255, 255), 2, cv2.LINE_AA)
    return np.vstack([bar, image])


def _write_still(path: Path, image: Image) -> None:
    scale = _STILL_WIDTH / image.shape[1]
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, _STILL_QUALITY])
